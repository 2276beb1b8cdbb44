"""A proposal decides every column by name, type, keys and values, passes its own check, and shows no value."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from fix_catalog import HOTEL_RULES, catalog, foreign_key, hotel, table
from hypothesis import given, settings
from hypothesis import strategies as st

from capture.model import Catalog, Check, ColumnName, Index, TableName
from transform.coverage import Severity
from transform.keyring import KeyRing
from transform.plan import check, compile_plan
from transform.rules import ColumnRule, Rules, SomeRows, load_rules
from transform.suggest import suggest


def proposed(
    tmp_path: Path, of: Catalog, samples: dict[str, list[bytes]] | None = None, existing: Rules | None = None
) -> tuple[Rules, str]:
    """The proposal read back, and its text."""
    given_samples = {ColumnName.parse(name): values for name, values in (samples or {}).items()}
    text = suggest(of, given_samples, existing)
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    return load_rules(path), text


def rule_for(tmp_path: Path, shape: str, values: list[bytes] | None = None, named: str = "public.guests") -> ColumnRule:
    """What is proposed for one column of one table."""
    of = catalog(table(named, shape))
    name = shape.split(maxsplit=1)[0]
    rules, _ = proposed(tmp_path, of, {f"{named}.{name}": values or []})
    return rules.tables[TableName.parse(named)].columns[name]


def test_the_hotel_is_decided_without_a_hand(tmp_path: Path) -> None:
    """For the hotel the proposal compiles as it is, with the audit trail's images masked by their tables."""
    rules, _ = proposed(tmp_path, hotel())
    assert compile_plan(rules, hotel(), KeyRing(bytes(32), "test")).tables
    guests = rules.tables[TableName("public", "guests")].columns
    assert {name: rule.mask for name, rule in guests.items()} == {
        "id": "keep",
        "email": "email",
        "full_name": "name.full",
        "phone": "phone",
        "born_on": "date.shift",
        "notes": "text.lorem",
        "mood": "keep",
    }
    assert guests["born_on"].params == {"days": 180}
    assert rules.tables[TableName("public", "messages")].columns["sender"].mask == "email"
    assert rules.tables[TableName("public", "logs")].columns["record"].mask == "row_image"
    assert TableName("public", "logs_1") not in rules.tables


@pytest.mark.parametrize(
    ("shape", "mask"),
    [
        ("guestEmail text", "email"),
        ("first_name text", "name.first"),
        ("last_name text unique", "id.uuid"),
        ("phone varchar(20) unique", "phone"),
        ("postal_code text", "address.postcode"),
        ("address_line_2 text", "address.street"),
        ("password_hash text", "id.secret"),
        ("token text unique", "id.secret"),
        ("iban text", "financial.iban"),
        ("card_number varchar(19) unique", "financial.card"),
        ("passport_number int8 unique", "id.int"),
        ("salary numeric", "financial.amount"),
        ("dob date", "date.shift"),
        ("created_at timestamptz", "keep"),
        ("email_verified bool", "keep"),
        ("nights int4", "keep"),
        ("status enum(a|b)", "keep"),
        ("email_type text", "keep"),
        ("id uuid pk", "keep"),
        ("last_ip inet", "network.ip"),
        ("last_ip inet notnull", "network.ip"),
        ("document xml", "null"),
        ("document xml notnull", "constant"),
        ("at point notnull", "constant"),
        ("odd lseg notnull", "todo"),
        ("preferences jsonb", "json"),
        ("attributes hstore", "hstore"),
        ("comment text", "text.lorem"),
        ("comment text unique", "text.scramble"),
        ("email varchar(8) unique", "text.scramble"),
        ("emails text array", "email"),
        ("stay daterange", "keep"),
        ("whatever text", "text.scramble"),
        ("search tsvector", "tsvector"),
        ("user_agent text", "network.user_agent"),
        ("mac macaddr", "network.mac"),
        ("gender char(1)", "gender"),
        ("latitude numeric", "address.latitude"),
        ("creditcardnumber text", "financial.card"),
        ("religion text notnull", "redact"),
        ("has_disability bool", "null"),
        ("phone_no text", "phone"),
        ("invoice_no int8", "keep"),
        ("birth_year int4", "number.noise"),
        ("dob_month int2", "number.within"),
        ("hiv_status enum(yes|no)", "null"),
        ("hiv_status enum(yes|no) notnull", "constant"),
        ("gender enum(f|m)", "null"),
        ("holder_birth_date date", "date.shift"),
        ("guarantor_income numeric", "financial.amount"),
    ],
)
def test_names_and_types_decide(tmp_path: Path, shape: str, mask: str) -> None:
    """The words of a name count where the type agrees; a unique column gets what keeps values apart, or todo."""
    assert rule_for(tmp_path, shape).mask == mask


@pytest.mark.parametrize(
    ("name", "shapes", "masks"),
    [
        (
            "audit.record_version",
            ["id int8 pk", "record_id uuid", "old_record_id uuid", "op text", "table_schema name", "table_name name",
             "record jsonb", "old_record jsonb"],
            {"record": "row_image", "old_record": "row_image"},
        ),
        (
            "audit.logged_actions",
            ["event_id int8 pk", "schema_name text", "table_name text", "client_query text", "action text",
             "row_data hstore", "changed_fields hstore"],
            {"row_data": "row_image", "changed_fields": "row_image", "client_query": "null"},
        ),
        (
            "audit.logged_actions",
            ["schema_name text", "table_name text", "action text", "original_data text", "new_data text",
             "query text notnull"],
            {"original_data": "null", "new_data": "null", "query": "redact"},
        ),
        ("public.reports", ["table_name text", "query text"], {"query": "text.lorem"}),
    ],
)  # fmt: skip
def test_audit_trails_are_known_by_their_shape(
    tmp_path: Path, name: str, shapes: list[str], masks: dict[str, str]
) -> None:
    """Images are masked by their tables' rules, and statements, which hold values, are dropped."""
    rules, _ = proposed(tmp_path, catalog(table(name, *shapes)))
    columns = rules.tables[TableName.parse(name)].columns
    assert {column: columns[column].mask for column in masks} == masks


MANY = range(1000)


@pytest.mark.parametrize(
    ("values", "mask"),
    [
        ([b"anna%d@hotel.example" % number for number in MANY], "email"),
        ([b"+49 30 %07d" % number for number in MANY], "phone"),
        ([b"4111 1111 1111 1111"] * 30, "financial.card"),
        ([b"GB82 WEST 1234 5698 7654 32"] * 30, "financial.iban"),
        ([b"red", b"green"] * 500, "keep"),
        ([b"word%d" % number for number in MANY], "text.scramble"),
        ([b"word%d" % number for number in MANY] + [b"anna@hotel.example"], "todo"),
        (
            [b"word%d" % number for number in MANY] + [b"anna%d@hotel.example" % number for number in MANY],
            "text.scramble",
        ),
        ([b"red"] * 999 + [b"GB82WEST12345698765432"], "todo"),
        ([b"a guest who was %d times late for breakfast" % number for number in MANY], "text.lorem"),
    ],
)
def test_values_decide_where_names_do_not(tmp_path: Path, values: list[bytes], mask: str) -> None:
    """A share of a pattern classifies; a single hit of one is enough to ask; few distinct values are kept."""
    assert rule_for(tmp_path, "whatever text", values).mask == mask


@pytest.mark.parametrize(
    ("shape", "values", "mask"),
    [
        ("email_sha256 text", [sha256(b"%d" % number).hexdigest().encode() for number in MANY], "id.secret"),
        ("content_sha256 text", [sha256(b"%d" % number).hexdigest().encode() for number in MANY], "keep"),
        ("on_day timestamp", [b"%d-03-02 00:00:00" % (1930 + number % 70) for number in MANY], "date.shift"),
        ("since timestamp", [b"%d-03-02 00:00:00" % (2020 + number % 7) for number in MANY], "keep"),
        ("looked_after_by text", [b"Mary", b"John", b"Susan", b"Paul"] * 250, "name.first"),
        ("opened_by text", [b"Mary Miller", b"John Keller", b"Susan Wright", b"Paul Smith"] * 250, "name.full"),
        ("opened_by text", [b"mmiller", b"keller2", b"swr", b"psmith"] * 250, "username"),
        ("colour text", [b"red", b"green", b"blue"] * 300, "keep"),
        ("provider_ref text", [b"u-%07d" % number for number in MANY], "text.scramble"),
    ],
)
def test_values_tell_people_apart_in_a_table_of_people(
    tmp_path: Path, shape: str, values: list[bytes], mask: str
) -> None:
    """Digests of what is personal, dates of birth without a time of day, who is whose, a code of one's own."""
    assert rule_for(tmp_path, shape, values).mask == mask


@pytest.mark.parametrize(
    ("shape", "values", "mask"),
    [
        ("driver text", [b"Xq Zv", b"Qz Vx", b"Vv Qq"] * 99, "keep"),
        ("driver text", [b"Xq%c Z%c" % (65 + number % 26, 65 + number % 17) for number in MANY], "name.full"),
        ("checked_by text", [b"%c%c" % (65 + number % 26, 65 + number % 17) for number in MANY], "username"),
        ("checked_by text", [b"%d" % number for number in MANY], "keep"),
        ("x text", [b"CV_anna_keller_%d.pdf" % number for number in MANY], "text.scramble"),
        ("full_name text", [b"Plan %d" % number for number in MANY], "keep"),
    ],
)
def test_people_are_found_in_tables_of_things(tmp_path: Path, shape: str, values: list[bytes], mask: str) -> None:
    """A column that is called what people are holds them, unless its values are few and no names, or references."""
    assert rule_for(tmp_path, shape, values, named="public.routes").mask == mask


@pytest.mark.parametrize(
    ("shape", "values", "mask"),
    [
        ("anno_n int4", [b"%d" % (1930 + number % 80) for number in MANY], "number.noise"),
        ("saison int4", [b"%d" % (2010 + number % 15) for number in MANY], "keep"),
        ("qz_no text pk", [b"K%06d" % number for number in MANY], "text.scramble"),
        ("qz_no varchar(5) pk", [b"K%04d" % number for number in MANY], "keep"),
        ("id text pk", [b"%08x-0000-4000-8000-%012x" % (number, number) for number in MANY], "keep"),
    ],
)
def test_what_people_are_known_by_is_hidden(tmp_path: Path, shape: str, values: list[bytes], mask: str) -> None:
    """Years that span generations, and numbers though they be keys; not what a machine made."""
    assert rule_for(tmp_path, shape, values, named="public.guests").mask == mask


@pytest.mark.parametrize(("columns", "mask"), [(3, "text.scramble"), (2, "keep")])
def test_a_list_of_things_that_shows_several_people_is_about_them(tmp_path: Path, columns: int, mask: str) -> None:
    """A thing may be somebody's, by name and by address; a plan of operations is about its patients."""
    last = (
        b"Keller Schmidt Huber Wolf Becker Schulz Koch Richter Klein Schwarz Braun Zimmermann Hartmann Krueger".split()
    )
    people = [b"%s %s" % (title, name) for title in (b"Dr.", b"Prof.", b"Herr", b"Frau") for name in last] * 4
    shapes = [f"q{number} text" for number in range(columns)]
    values = {ColumnName.parse(f"public.op_plan.q{number}"): people for number in range(columns)}
    values[ColumnName.parse("public.op_plan.zz")] = [b"zz-%d" % number for number in range(len(people))]
    text = suggest(catalog(table("public.op_plan", *shapes, "zz text")), values, None)
    assert f"zz: {mask}" in text


def test_amounts_of_a_payroll_are_income(tmp_path: Path) -> None:
    """Whatever they are called; amounts of other tables stay."""
    of = catalog(
        table("public.payslips", "id int8 pk", "qz numeric"), table("public.parcels", "id int8 pk", "qz numeric")
    )
    rules, _ = proposed(tmp_path, of)
    masks = [rules.tables[TableName("public", name)].columns["qz"].mask for name in ("payslips", "parcels")]
    assert masks == ["financial.amount", "keep"]


def test_codes_of_rows_about_people_are_hidden(tmp_path: Path) -> None:
    """What tells rows of people apart elsewhere may be looked up there; a code of a thing may not."""
    of = catalog(
        table("public.users", "id int8 pk"),
        table("public.links", "user_id int8", "ref text", "sku text", "state text"),
        foreign_keys=(foreign_key("public.links(user_id)", "public.users(id)"),),
    )
    codes = [b"A%05d" % number for number in MANY]
    samples = {"public.links.ref": codes, "public.links.sku": codes, "public.links.state": [b"s1", b"s2"] * 500}
    rules, _ = proposed(tmp_path, of, samples)
    links = rules.tables[TableName("public", "links")].columns
    assert {name: rule.mask for name, rule in links.items()} == {
        "user_id": "keep",
        "ref": "text.scramble",
        "sku": "keep",
        "state": "keep",
    }


@pytest.mark.parametrize(
    ("form", "pattern"),
    [("^MRN[0-9]{7}$", "MRN[0-9]{7}"), (r"^A-\d{3}\.\d{4}$", r"\A-9{3}.9{4}"), ("^(MRN|OLD)[0-9]{7}$", None)],
)
def test_a_key_and_what_refers_to_it_give_way_together(tmp_path: Path, form: str, pattern: str | None) -> None:
    """What the check refuses in a table is not proposed for those that refer to it, and a second run says the same."""
    demanded = Check("mrn_form", f"(mrn ~ '{form}'::text)", ("mrn",))
    of = catalog(
        replace(table("public.patients", "mrn text pk", "note text"), checks=(demanded,)),
        table("public.labs", "mrn text", "value numeric"),
        table("public.visits", "mrn text"),
        foreign_keys=(
            foreign_key("public.labs(mrn)", "public.patients(mrn)"),
            foreign_key("public.visits(mrn)", "public.patients(mrn)"),
        ),
    )
    rules, text = proposed(tmp_path, of)
    for name in ("patients", "labs", "visits"):
        proposal = rules.tables[TableName("public", name)].columns["mrn"]
        assert (proposal.mask, proposal.params.get("pattern")) == ("id.pattern" if pattern else "todo", pattern)
    assert proposed(tmp_path, of, None, rules)[0].fingerprint() == rules.fingerprint()
    assert ("no mask for it fits: check" in text) is (pattern is None)


def test_a_card_number_whose_end_is_generated_is_permuted(tmp_path: Path) -> None:
    """The last digits that programs show are computed of any number."""
    end = replace(table("public.cards", "last4 bpchar").columns[0], generated=True, expression='"right"(pan, 4)')
    of = table("public.cards", "id int8 pk", "pan text unique")
    rules, _ = proposed(tmp_path, catalog(replace(of, columns=(*of.columns, end))))
    assert rules.tables[TableName("public", "cards")].columns["pan"].mask == "financial.card"


def test_evidence_is_counted_and_no_value_is_shown(tmp_path: Path) -> None:
    """The comments hold counts; not one sampled value is anywhere in the file."""
    values = [b"canary%d@secret.example" % number for number in range(998)] + [b"none", b"canary"]
    _, text = proposed(tmp_path, catalog(table("public.t", "x text", "y text")), {"public.t.x": values})
    assert "x: email  # email: 998/1000" in text
    assert "y: todo  # not sampled" in text
    assert "canary" not in text


@pytest.mark.parametrize("named", ["public.guests", "public.rooms"])
def test_a_bare_name_depends_on_its_table(tmp_path: Path, named: str) -> None:
    """The name of a guest is masked, that of a room is kept."""
    assert rule_for(tmp_path, "name text", named=named).mask == ("name.full" if named == "public.guests" else "keep")


@pytest.mark.parametrize(("named", "mask"), [("ship_address", "null"), ("dimensions", "keep")])
def test_a_composite_type_is_what_its_column_is_called(tmp_path: Path, named: str, mask: str) -> None:
    """The parts of its text are not taken apart, so that its name counts."""
    of = catalog(table("public.parcels", f"{named} triple"))
    (parcels,) = of.tables.values()
    shape = replace(parcels.columns[0], kind="c")
    rules, _ = proposed(
        tmp_path,
        replace(of, tables={parcels.name: replace(parcels, columns=(shape,))}),
        {f"public.parcels.{named}": [b"(1,%d,2)" % n for n in range(200)]},
    )
    assert rules.tables[parcels.name].columns[named].mask == mask


@pytest.mark.parametrize(("named", "mask"), [("public.film_vectors", "keep"), ("public.guests", "todo")])
def test_vectors_of_things_stay(tmp_path: Path, named: str, mask: str) -> None:
    """The vector of a film tells of the film, that of a guest may be a face."""
    assert rule_for(tmp_path, "position vector notnull", named=named).mask == mask


@pytest.mark.parametrize("name", ["bic", "swift", "swift_code", "bank_bic"])
def test_bank_codes_that_are_hidden_stay_bank_codes(tmp_path: Path, name: str) -> None:
    """Where the name says BIC and the values fit; other values are no bank's, and other names tell of none."""
    letters = [chr(ord("A") + number) for number in range(20)]
    bics = [f"{one}{other}XXDEFF{end}".encode() for one in letters for other in letters[:5] for end in ("", "XXX")]
    assert rule_for(tmp_path, f"{name} varchar(11)", bics, "public.customers").mask == "financial.bic"
    assert rule_for(tmp_path, f"{name} varchar(11) unique", bics, "public.customers").mask == "financial.bic"
    others = [b"ref %d" % number for number in range(200)]
    assert rule_for(tmp_path, f"{name} varchar(11)", others, "public.customers").mask == "text.scramble"
    assert rule_for(tmp_path, "mark varchar(11)", bics, "public.customers").mask == "text.scramble"
    assert rule_for(tmp_path, f"{name} varchar(11)", bics, "public.banks").mask == "keep"


def test_a_comment_can_ask_for_a_mask(tmp_path: Path) -> None:
    """``@mask: NAME`` in a column's comment decides; other words of it count like a name's."""
    of = catalog(table("public.t", "a text", "b text", "c text"))
    (t,) = of.tables.values()
    comments = ("see wiki. @mask: redact", "the guest's e-mail", "@mask: none.such")
    columns = tuple(replace(shape, comment=comment) for shape, comment in zip(t.columns, comments, strict=True))
    rules, _ = proposed(tmp_path, replace(of, tables={t.name: replace(t, columns=columns)}))
    assert [rule.mask for rule in rules.tables[t.name].columns.values()] == ["redact", "email", "todo"]


def test_decisions_are_kept_and_gaps_filled(tmp_path: Path) -> None:
    """Run again, existing rules, domains and parameters stay; new columns are added; what is gone is named."""
    existing = Rules.model_validate(
        {
            "version": 1,
            "tables": {
                "public.guests": {"columns": {"phone": None, "notes": "todo", "fax": "phone"}},
                "public.messages": {"rows": "none"},
                "public.old": {"columns": {"x": "keep"}},
            },
            "domains": {
                "who": {"mask": "email", "domain": "a.test", "columns": ["public.guests.email", "public.old.x"]}
            },
        }
    )
    rules, text = proposed(tmp_path, hotel(), {}, existing)
    guests = rules.tables[TableName("public", "guests")].columns
    assert (guests["phone"].mask, guests["notes"].mask, guests["full_name"].mask) == ("null", "text.lorem", "name.full")
    assert "email" not in guests
    assert rules.domains["who"].params == {"domain": "a.test"}
    assert rules.tables[TableName("public", "participants")].columns["email"].params == {"domain": "a.test"}
    assert rules.tables[TableName("public", "messages")].rows == "none"
    assert {"#   public.old", "#   public.old.x", "#   public.guests.fax"} <= set(text.splitlines())
    again, _ = proposed(tmp_path, hotel(), {}, rules)
    assert again.fingerprint() == rules.fingerprint()


def test_a_complete_file_comes_back(tmp_path: Path) -> None:
    """A file that decides everything keeps its meaning."""
    path = tmp_path / "before.yaml"
    path.write_text(HOTEL_RULES)
    before = load_rules(path)
    rules, _ = proposed(tmp_path, hotel(), {}, before)
    ring = KeyRing(bytes(32), "test")
    assert compile_plan(rules, hotel(), ring).fingerprint == compile_plan(before, hotel(), ring).fingerprint


def test_what_refers_to_a_column_takes_over_a_function_of_ones_own(tmp_path: Path) -> None:
    """The function is found beside the rules file, as it is by the check."""
    (tmp_path / "beside_suggested_rules.py").write_text("def turned(values, keyed):\n    return values\n")
    of = catalog(
        table("public.guests", "code text pk"),
        table("public.stays", "id int pk", "guest text"),
        foreign_keys=(foreign_key("public.stays(guest)", "public.guests(code)"),),
    )
    path = tmp_path / "before.yaml"
    path.write_text(
        "version: 1\ntables:\n  public.stays: {columns: {id: keep}}\n  public.guests:\n"
        "    columns: {code: {mask: custom, function: 'beside_suggested_rules:turned', unique: injective}}\n"
    )
    rules, _ = proposed(tmp_path, of, {}, load_rules(path))
    guest = rules.tables[TableName("public", "stays")].columns["guest"]
    assert guest == rules.tables[TableName("public", "guests")].columns["code"]


def test_all_that_a_rule_can_say_is_kept(tmp_path: Path) -> None:
    """Conditions, what holds otherwise, what is vouched for, subjects, rows and locales stay; gaps are filled."""
    path = tmp_path / "before.yaml"
    path.write_text(
        """\
version: 1
locale: de_DE
tables:
  public.guests:
    subject: id
    rows:
      where: mood = 'glad' and notes <> '#'
    columns:
      phone:
        mask: phone
        when: |
          # no comment
          mood = 'sad'
        otherwise: {mask: phone, preserve_format: true, locale: fr_FR}
      notes: {mask: text.lorem, satisfies: [notes_check], when: notes is not null}
      full_name: {mask: name.full, locale: {column: notes}}
  public.sessions: {rows: none}
  public.reservations: {rows: {with: public.guests}}
  public.messages: {rows: {where: id > 7, with: [public.participants]}}
domains:
  who: {mask: email, columns: [public.guests.email]}
"""
    )
    before = load_rules(path)
    rules, _ = proposed(tmp_path, hotel(), {}, before)
    guests, then = (one.tables[TableName("public", "guests")] for one in (rules, before))
    assert rules.locale == "de_DE"
    assert (guests.subject, guests.rows) == ("id", SomeRows(where="mood = 'glad' and notes <> '#'"))
    assert {name: rule.identity for name, rule in guests.columns.items() if name in then.columns} == {
        name: rule.identity for name, rule in then.columns.items()
    }
    assert guests.columns["notes"].satisfies == ("notes_check",)
    assert guests.columns["born_on"].mask == "date.shift"
    for name in ("sessions", "reservations", "messages"):
        table_name = TableName("public", name)
        assert rules.tables[table_name].rows == before.tables[table_name].rows


def test_odd_names_are_written_so_that_they_read_back(tmp_path: Path) -> None:
    """Names that SQL or YAML would quote come back as they are."""
    odd = ["Select", "no", "null", "a b", "12", "x: y", "#", "übung", 'q"uote', '"both"', "it's", "tab\there", "-", "~"]
    columns = tuple(
        replace(shape, name=name)
        for shape, name in zip(table("public.t", *(f"c{n} int4" for n in range(len(odd)))).columns, odd, strict=True)
    )
    name = TableName("Odd Schema", 'Sel"ect')
    rules, _ = proposed(tmp_path, catalog(replace(table("public.t"), name=name, columns=columns)))
    assert list(rules.tables[name].columns) == odd


def test_composite_and_partition_keys_stay_whole(tmp_path: Path) -> None:
    """A foreign key's columns get one rule, also where the referencing name alone would say otherwise."""
    of = catalog(
        table("public.staff", "login text pk"),
        table("public.shifts", "first_name text", "day date"),
        foreign_keys=(foreign_key("public.shifts(first_name)", "public.staff(login)"),),
    )
    rules, _ = proposed(tmp_path, of)
    assert rules.tables[TableName("public", "shifts")].columns["first_name"].mask == "username"
    assert not [finding for finding in check(rules, of) if finding.severity is Severity.ERROR]


_names = st.sampled_from(["email", "name", "notes", "token", "code", "phone", "id", "old_row", "born", "city", "x"])
_types = st.sampled_from(
    "text varchar(5) varchar(60) char(3) citext int2 int8 numeric date jsonb uuid inet bytea enum(a|b) bool".split()
)
_flags = st.sampled_from(["", "unique", "notnull", "pk", "array", "unique notnull"])


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(_names, st.tuples(_types, _flags), max_size=8), st.booleans())
def test_every_proposal_passes_its_check(columns: dict[str, tuple[str, str]], partial_index: bool) -> None:
    """Whatever the schema, the proposal decides every column without an error, apart from what is todo."""
    shapes = [f"{name} {kind} {flags}" for name, (kind, flags) in columns.items()]
    extra = (Index("i", (), expressions=("lower(name)",), predicate="(phone IS NOT NULL)"),) if partial_index else ()
    of = catalog(
        table("public.users", *shapes, indexes=extra),
        table("public.visits", "user_email text", "note text"),
        foreign_keys=(foreign_key("public.visits(user_email)", "public.users(email)"),) if "email" in columns else (),
    )
    text = suggest(of, {}, None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rules.yaml"
        path.write_text(text)
        rules = load_rules(path)
    findings = check(rules, of)
    assert not [str(finding) for finding in findings if finding.severity is Severity.ERROR]
    assert all("todo" in finding.message for finding in findings if finding.severity is Severity.UNDECIDED)
    # Run again, nothing changes: what two columns share has one proposal.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rules.yaml"
        path.write_text(suggest(of, {}, rules))
        assert load_rules(path).fingerprint() == rules.fingerprint()


def test_account_numbers_that_are_keys_are_permuted(tmp_path: Path) -> None:
    """By the mask that leaves room for the copy's own sequence; a reference named after an account is no number."""
    of = catalog(
        table("public.konten", "kontonr int8 pk"),
        table("public.umsaetze", "id int8 pk", "konto int8"),
        table("public.filialen", "id int8 pk"),
        table("public.kassen", "id int8 pk", "konto int8"),
        foreign_keys=(
            foreign_key("public.umsaetze(konto)", "public.konten(kontonr)"),
            foreign_key("public.kassen(konto)", "public.filialen(id)"),
        ),
    )
    rules, _ = proposed(tmp_path, of)
    masks = {
        str(name): {column: rule.mask for column, rule in own.columns.items()} for name, own in rules.tables.items()
    }
    assert masks == {
        "public.filialen": {"id": "keep"},
        "public.kassen": {"id": "keep", "konto": "keep"},
        "public.konten": {"kontonr": "id.int"},
        "public.umsaetze": {"id": "keep", "konto": "id.int"},
    }


def test_a_comment_at_a_referring_column_decides_all_of_the_domain(tmp_path: Path) -> None:
    """What is masked alike has one rule, wherever somebody asked for it."""
    of = catalog(
        table("public.users", "id int8 pk"),
        table("public.orders", "id int8 pk", "user_id int8"),
        foreign_keys=(foreign_key("public.orders(user_id)", "public.users(id)"),),
    )
    orders = of.tables[TableName("public", "orders")]
    asking = tuple(
        replace(each, comment="@mask: id.int") if each.name == "user_id" else each for each in orders.columns
    )
    asked = replace(of, tables={**of.tables, orders.name: replace(orders, columns=asking)})
    assert proposed(tmp_path, of)[1].count("id.int") == 0
    assert proposed(tmp_path, asked)[1].count("id.int") == 2


def test_what_refers_to_somebodys_row_is_about_somebody(tmp_path: Path) -> None:
    """Over several foreign keys, unless a list of things stands between."""
    of = catalog(
        table("public.patients", "id int8 pk"),
        table("public.encounters", "id int8 pk", "patient_id int8"),
        table("public.findings", "id int8 pk", "encounter_id int8", "weight numeric"),
        table("public.parcels", "id int8 pk", "weight numeric"),
        foreign_keys=(
            foreign_key("public.encounters(patient_id)", "public.patients(id)"),
            foreign_key("public.findings(encounter_id)", "public.encounters(id)"),
        ),
    )
    rules, _ = proposed(tmp_path, of)
    assert rules.tables[TableName("public", "findings")].columns["weight"].mask == "number.noise"
    assert rules.tables[TableName("public", "parcels")].columns["weight"].mask == "keep"
