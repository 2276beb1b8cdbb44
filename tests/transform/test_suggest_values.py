"""What values tell: checksums, patterns, dictionaries, entropy, documents, addresses, a locale, people in texts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest
from fix_catalog import catalog, foreign_key, table
from fix_masks import mask_of

from capture.model import Check, ColumnName
from transform.masks.document_keys import DocumentKeys
from transform.suggest import free_text, suggest
from transform.suggest.category import Category
from transform.suggest.detectors import detect, looks_random
from transform.suggest.dictionaries import is_full_name, is_like_full_name, names_somebody, tells
from transform.suggest.judge import Setting
from transform.suggest.leaves import judge_document, judge_hstore
from transform.suggest.profile import Profile


@pytest.mark.parametrize(
    ("value", "category"),
    [
        ("anna@hotel.example", Category.EMAIL),
        ("GB82 WEST 1234 5698 7654 32", Category.IBAN),
        ("GB82 WEST 1234 5698 7654 33", None),
        ("4111 1111 1111 1111", Category.CARD),
        ("4111 1111 1111 1112", None),
        ("9111 1111 1111 1111", None),
        ("078-05-1120", Category.PERSONAL_NUMBER),
        ("666-05-1120", None),
        ("AB 12 34 56 C", Category.PERSONAL_NUMBER),
        ("12345678Z", Category.PERSONAL_NUMBER),
        ("12345678A", None),
        ("111.444.777-35", Category.PERSONAL_NUMBER),
        ("111.444.777-36", None),
        ("11.222.333/0001-81", Category.PERSONAL_NUMBER),
        ("RSSMRA85T10A562S", Category.PERSONAL_NUMBER),
        ("1M8GDM9AXKP042788", Category.PERSONAL_NUMBER),
        ("9780306406157", Category.CODE),
        ("10.1.2.3", Category.IP),
        ("2001:db8::1", Category.IP),
        ("00:1b:44:11:3a:b7", Category.MAC),
        ("+49 30 1234567", Category.PHONE),
        ("(555) 123-4567", Category.PHONE),
        ("https://example.com/a", Category.URL),
        ("Mozilla/5.0 (X11; Linux x86_64)", Category.USER_AGENT),
        ("$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW", Category.SECRET),
        ("52.52000, 13.40500", Category.POSITION),
        ("please call anna@hotel.example about it", Category.EMAIL),
        ("paid with 4111 1111 1111 1111 at the desk", Category.CARD),
        ("red", None),
        ("2024-01-31", None),
        ("1.2.3", None),
    ],
)
def test_values_are_known(value: str, category: Category | None) -> None:
    """A number counts if its check digits hold, a text if it has the form, also inside a longer one."""
    assert [hits.detector.category for hits in detect({value: 1})] == ([category] if category else [])


def test_chance_is_no_evidence() -> None:
    """Of numbers that mean nothing a tenth passes Luhn's check, and nobody is asked about them."""
    numbers = {f"4{number * 7919:015d}": 1 for number in range(400)}
    (hits,) = [hits for hits in detect(numbers) if hits.detector.category is Category.CARD]
    assert 0 < hits.count < 100
    assert hits.by_chance


def test_names_and_secrets_are_told_from_words() -> None:
    """Both a first and a last name make a person, whatever stands around them; a thing's name does not."""
    assert all(map(is_full_name, ["Anna Keller", "Dr. Anna Keller", "KELLER, Anna", "Anna-Maria Keller"]))
    assert all(map(is_full_name, ["anna keller", "KELLER/ANNA MR", "Anna & Peter Keller", "山田太郎"]))
    assert is_like_full_name("Chidi Okonkwo")
    assert not any(map(is_like_full_name, ["Okonkwo", "a long okonkwo", "Xq Zv"]))
    assert not any(map(is_full_name, ["Sturdy Kettle", "Anna", "anna keller runs", "山", ""]))
    assert all(
        map(
            names_somebody,
            ["cv-anna-keller.pdf", "anna.keller", "/home/Anna/cv_Keller.pdf", "We met Anna Keller at noon"],
        )
    )
    assert not any(
        map(
            names_somebody, ["we will mark it", "Anna met Keller", "/home/anna/cv_keller", "scan_0042.pdf", "an.li", ""]
        )
    )
    assert looks_random("q8ZrT2mKx9LwPv4nB7cY1sDf")
    assert not any(map(looks_random, ["a-quite-long-slug-of-an-article", "Donaudampfschifffahrt", "2024-01-31T10:00"]))


DOCUMENTS = [
    b'{"theme": "dark", "contact": {"email": "g%d@x.example"}, "tags": ["a", "b"], "n": %d, "odd key %d": 1}'
    % (n, n, n)
    for n in range(200)
]


def test_leaves_get_paths() -> None:
    """A leaf of many documents has a rule by its path; a key that may be data stands in no rules file."""
    rule, evidence = judge_document("preferences", DOCUMENTS, Setting())
    assert isinstance(rule, dict)
    assert rule["paths"] == {"$.contact.email": "email", "$.theme": "keep", "$.n": "keep", "$.tags[*]": "keep"}
    assert rule["keys"] == {"$": "id.uuid"}
    assert evidence == "keys of $ are data; contact.email email: 200/200"
    assert "odd key" not in str(rule)


@pytest.mark.parametrize(("type_name", "is_told"), [("text", True), ("varchar", True), ("varchar(200)", False)])
def test_documents_in_texts_get_paths(type_name: str, *, is_told: bool) -> None:
    """As in a column of jsonb, where they have room; a few texts beside them change nothing."""
    schema = catalog(table("public.guests", "id int8 pk", f"prefs {type_name}"))
    text = suggest(schema, {ColumnName.parse("public.guests.prefs"): [*DOCUMENTS, b"none", b"{}"]}, None)
    assert ("prefs: {mask: json, paths: {'$.contact.email': email" in text) == is_told
    assert "prefs: keep" not in text


def test_keys_that_are_data_are_masked() -> None:
    """Where every document has keys of its own, no path leads there."""
    many = [b'{"%s": 1}' % bytes([97 + n // 26, 97 + n % 26]) for n in range(200)]
    rule, _ = judge_document("counts", many, Setting())
    assert isinstance(rule, dict)
    assert rule["paths"] == {}
    assert list(rule["keys"]) == ["$"]


@pytest.mark.parametrize(
    ("document", "keys"),
    [
        (b'{"kind": "a", "shared": {"anna%d@x.example": true}}', {"$.shared": "email"}),
        (b'{"kind": "a", "by": [{"to": {"anna%d@x.example": 1, "level": 2}}]}', {"$.by[*].to": "email"}),
        (b'{"kind": "a", "odd-key": {"AA:BB:CC:00:00:%02X": 1}}', {'$["odd-key"]': "id.uuid"}),
    ],
)
def test_keys_inside_that_are_data_are_masked(document: bytes, keys: dict[str, str]) -> None:
    """Wherever they are, if they look like something of a person."""
    rule, evidence = judge_document("sharing", [document % (10 + n % 90) for n in range(200)], Setting())
    assert isinstance(rule, dict)
    assert rule.get("keys", {}) == keys
    assert evidence == "; ".join([f"keys of {path} are data" for path in keys]) or not keys


@pytest.mark.parametrize(("key", "mask"), [(b"anna%d@x.example", "email"), (b"k%d", "id.uuid")])
def test_keys_of_an_hstore_that_are_data_are_masked(key: bytes, mask: str) -> None:
    """But for those of fields beside them."""
    rule, evidence = judge_hstore([b'"%s"=>"x", "tier"=>"gold"' % (key % n) for n in range(200)], Setting())
    assert rule == {"mask": "hstore", "keys": {"tier": "keep"}, "key_mask": mask}
    assert evidence == "keys are data, but for 1"


def test_keys_that_are_data_are_masked_at_every_level() -> None:
    """Those below others are reached by a wildcard, and so are leaves that have a name of their own."""
    of = ["Hopper", "Lovelace", "Curie", "Noether", "Franklin"]
    documents = [
        b'{"kind": "a", "shared": {"%s": {"ada%d@x.example": {"role": "r%d", "text": "Dear me"}}}}'
        % (of[n % 5].encode(), n, n % 3)
        for n in range(200)
    ]
    rule, _ = judge_document("sharing", documents, Setting(), frozenset(map(str.encode, of)))
    assert isinstance(rule, dict)
    assert rule["keys"] == {"$.shared": "id.uuid", "$.shared.*": "email"}
    assert rule["paths"]["$.shared.*.*.role"] == "keep"
    assert not any(name in str(rule) for name in of)


@pytest.mark.parametrize(
    "names",
    [
        ["Ada", "Grace", "Anna"],
        ["anna_keller", "peter_meyer", "grace_miller", "x1"],
        ["anna_keller", "peter_meyer"],
        ["Anna Keller", "theme"],
        ["Hamburg", "Berlin"],
    ],
)
@pytest.mark.parametrize("are_all", [True, False])
def test_a_few_names_are_no_fields(names: list[str], *, are_all: bool) -> None:
    """A small map of people or towns is one, though its keys are written as those of fields, and stand in all rows."""
    documents = [
        json.dumps({"by": {key: {"sum": n} for key in (names if are_all else names[n % 2 :: 2])}}).encode()
        for n in range(100)
    ]
    rule, _ = judge_document("votes", documents, Setting())
    assert isinstance(rule, dict)
    assert "$.by" in rule["keys"]
    assert not any(name in str(rule) for name in names if name != "theme")


def test_unknown_handles_stand_in_no_rules_file() -> None:
    """Keys that differ, are no words and lead to much the same are data where they are many, and in doubt if few."""
    handles = [f"q{a}{b}zor" for a in "xyz" for b in "klmn"]
    for some, are_data in ((handles, True), (handles[:3], False)):
        documents = [json.dumps({"kind": "a", "by": {some[n % len(some)]: n}}).encode() for n in range(100)]
        rule, _ = judge_document("votes", documents, Setting())
        assert isinstance(rule, dict)
        assert ("keys" in rule) == are_data
        assert not any(name in str(rule) for name in some)


def test_a_member_that_stands_twice_is_judged_twice() -> None:
    """As masks do: json keeps both."""
    documents = [b'{"x": "anna%d@x.example", "x": "gold", "n": 1%s}' % (n, b"0" * 5000) for n in range(100)]
    rule, _ = judge_document("odd", documents, Setting())
    assert isinstance(rule, dict)
    assert rule["paths"].get("$.x") != "keep"


def test_what_is_kept_holds_nothing_below() -> None:
    """A path keeps all that lies below it, so a place that is now a word, now an object, has none."""
    documents = [b'{"x": "gold"}'] * 100 + [b'{"x": {"note": "Anna Keller came late today", "n": 1}}'] * 3
    rule, _ = judge_document("odd", documents, Setting())
    assert isinstance(rule, dict)
    assert "$.x" not in rule["paths"]


@pytest.mark.parametrize("empty", [b"{}", b"[]"])
def test_what_is_kept_may_hold_nothing_below_later(empty: bytes) -> None:
    """An empty object or list says that there are others, which no sample has shown yet."""
    documents = [b'{"x": "gold", "n": 1}'] * 100 + [b'{"x": %s, "n": 1}' % empty] * 10
    for values, path in ((documents, "$.x"), ([b'"gold"'] * 100 + [empty], "$")):
        rule, _ = judge_document("odd", values, Setting())
        assert isinstance(rule, dict)
        assert path not in rule["paths"]
    assert judge_hstore([b'"x"=>"gold"'] * 100, Setting())[0] == {"mask": "hstore", "keys": {"x": "keep"}}


@pytest.mark.parametrize("count", [10, 1000])
def test_people_who_are_named_again_and_again_in_a_list_are_hidden(count: int) -> None:
    """Many texts of each document repeat each other; who is named in them is none of a few words that come again."""
    first, last = ["Anna", "Peter", "Grace", "Julia", "Martin"], ["Keller", "Meyer", "Hopper", "Schmidt"]
    documents = []
    for number in range(count):
        name = f"{first[number % 5]} {last[number % 4]}"
        lines = [f"The bearer {name} was seen in person.", "No alterations were found on these pages."] * 20
        documents.append(json.dumps({"lines": lines}).encode())
    rule, _ = judge_document("extracted", documents, Setting())
    assert isinstance(rule, dict)
    assert rule["paths"] == {"$.lines[*]": "text.lorem"}


def test_the_names_of_one_person_stand_in_no_rules_file() -> None:
    """A key of a first and a last name is no field's, though it is written as one's and stands in every document."""
    rule, _ = judge_document("sums", [b'{"anna_keller": %d, "total": 3}' % n for n in range(100)], Setting())
    assert isinstance(rule, dict)
    assert rule["paths"] == {"$.total": "keep"}


def test_lists_without_keys_are_judged_by_their_columns_name() -> None:
    """Documents that are lists, of lists even, have leaves that no key names."""
    words = [b'["x%d", ["y", "z%d"]]' % (n, n) for n in range(200)]
    assert judge_document("mobile", words, Setting())[0]["paths"] == {  # type: ignore[index]  # a mapping
        "$[*]": "phone",
        "$[*][*]": "phone",
    }
    assert judge_document("sizes", [b"[[3, 4], [5]]"] * 200, Setting())[0]["paths"] == {"$[*][*]": "keep"}  # type: ignore[index]


def test_places_on_a_map_are_never_named() -> None:
    """Numbers as exact as positions, in lists or under the key that GeoJSON has for them, are scrambled."""
    tracks = [b"[[47.%05d, 8.51234], [47.3, 8.%05d]]" % (n * 37, n * 91) for n in range(200)]
    assert judge_document("ride", tracks, Setting())[0]["paths"] == {}  # type: ignore[index]
    points = [b'{"coordinates": [%d, %d]}' % (n, n + 1) for n in range(200)]
    assert judge_document("area", points, Setting())[0]["paths"] == {}  # type: ignore[index]


@pytest.mark.parametrize(
    ("values", "category"),
    [
        ("M F", Category.GENDER),
        ("männlich weiblich divers", Category.GENDER),
        ("Homme Femme", Category.GENDER),
        ("S M L", None),
        ("M L", None),
        ("ledig verheiratet geschieden", Category.SENSITIVE),
        ("gehuwd ongehuwd", Category.SENSITIVE),
        ("single double suite", None),
        ("RK EV --", Category.SENSITIVE),
        ("A+ O- AB+", Category.SENSITIVE),
        ("A\u00a0Rh+ 0\u00a0Rh-", Category.SENSITIVE),
        ("A+ A A- B+ B", None),
        ("gay straight bi", Category.SENSITIVE),
        ("white black red", None),
        ("type\u00a02\u00a0diabetes major\u00a0depression flu", Category.SENSITIVE),
        ("contrôle douleur\u00a0thoracique suivi\u00a0grossesse", Category.SENSITIVE),
        ("", None),
    ],
)
def test_few_words_tell_of_people(values: str, category: Category | None) -> None:
    """Words for what somebody is are known in several languages; sizes, rooms, grades and colours are none."""
    assert tells([value.replace("\u00a0", " ") for value in values.split(" ")]) is category


def test_few_reasons_of_visits_tell_of_people() -> None:
    """Though a column of texts that come again and again is kept."""
    schema = catalog(table("public.visits", "id int8 pk", "motif text", "reason text"))
    motif, reason = ["contrôle", "douleur thoracique", "suivi grossesse"], ["first visit", "follow-up"]
    samples = {"motif": motif * 40, "reason": reason * 60}
    encoded = {
        ColumnName.parse(f"public.visits.{name}"): [value.encode() for value in values]
        for name, values in samples.items()
    }
    written = suggest(schema, encoded, None)
    assert "motif: null" in written
    assert "reason: keep" in written


def test_what_is_filled_in_for_a_value_hides_no_others() -> None:
    """Blanks, dashes and words for nothing count in the evidence alone, unless there is nothing else."""
    profile = Profile.of([b" m", b"F ", b"n/a", b"-", b"unknown", b"   ", b"M", b"f"] * 40)
    assert profile.tells is Category.GENDER
    assert profile.out_of_all(1) == "1/280"
    assert Profile.of([b"none", b"-"]).distinct == 2


def test_odd_names_hide_no_telling_words() -> None:
    """A column of few words that tell of people is masked, whatever it is called; things have them as well."""
    shapes = table("public.members", "col7 text", "col8 enum(married|divorced)")
    samples = {ColumnName.parse("public.members.col7"): [b"male", b"female"] * 200}
    text = suggest(catalog(shapes), samples, None)
    assert "col7: {mask: gender, words: [female, male]}  # words of people: 2 distinct" in text
    assert "col8: null  # words of people" in text
    things = table("public.products", "col7 text")
    kept = suggest(catalog(things), {ColumnName.parse("public.products.col7"): [b"male", b"female"] * 200}, None)
    assert "col7: keep" in kept


def test_long_numbers_that_no_name_explains_are_masked() -> None:
    """They may be telephones, accounts or people; short ones, and those of things, stay."""
    of = catalog(table("public.traffic", "origin text", "zone text"), table("public.products", "gauge text"))
    samples = {
        "public.traffic.origin": [b"1202%07d" % (n * 9_973 % 10**7) for n in range(400)],
        "public.traffic.zone": [b"%05d" % (n * 37) for n in range(400)],
        "public.products.gauge": [b"%08d" % (n * 9_973) for n in range(400)],
    }
    text = suggest(of, {ColumnName.parse(name): values for name, values in samples.items()}, None)
    assert "origin: text.scramble  # long numbers: 100%" in text
    assert "zone: keep" in text
    assert "gauge: keep" in text


def test_values_tell_what_a_table_is_about() -> None:
    """Where names of people stand, codes of which no name says anything are masked, in whatever language."""
    shapes = ("jgvstk text", "nrbz text")
    of = catalog(table("public.xq", *shapes), table("public.xr", *shapes))
    codes = [b"AB-%05d" % n for n in range(400)]
    people = [
        b"%s %s" % (first, last)
        for first in b"Anna Peter Maria Paul Laura Karl Julia Hans".split()
        for last in b"Keller Schmidt Huber Wolf Becker Schulz Koch Richter".split()
    ]
    samples = {
        "public.xq.jgvstk": people * 6,
        "public.xq.nrbz": codes,
        "public.xr.jgvstk": [b"Kettle %d" % n for n in range(400)],
        "public.xr.nrbz": codes,
    }
    text = suggest(of, {ColumnName.parse(name): values for name, values in samples.items()}, None)
    about_people, about_things = text.split("public.xr:")
    assert "nrbz: text.scramble" in about_people
    assert "nrbz: keep" in about_things


def test_few_numbers_are_nobodys_own() -> None:
    """A number of days is no identity number, though another language calls that so."""
    of = catalog(table("public.employees", "urlop_dni int4", "dni int4"))
    samples = {"public.employees.urlop_dni": [b"%d" % (n % 20) for n in range(400)]}
    samples["public.employees.dni"] = [b"%d" % (10**7 + n * 97) for n in range(400)]
    text = suggest(of, {ColumnName.parse(name): values for name, values in samples.items()}, None)
    assert "urlop_dni: keep" in text
    assert " dni: id.int" in text


def test_genders_keep_the_columns_own_words() -> None:
    """Where each is a word for one, the copy has no other words than production."""
    of = catalog(table("public.members", "plec text", "sexe text"))
    samples = {"public.members.plec": [b"K", b"M"] * 200, "public.members.sexe": [b"1", b"2"] * 200}
    text = suggest(of, {ColumnName.parse(name): values for name, values in samples.items()}, None)
    assert "plec: {mask: gender, words: [K, M]}" in text
    assert "sexe: gender" in text


def test_hstore_is_judged_by_key() -> None:
    """Values of a key are judged as a column's are."""
    rule, _ = judge_hstore([b'"size"=>"L", "mail"=>"a%d@x.example", "x"=>NULL' % n for n in range(200)], Setting())
    assert rule == {"mask": "hstore", "keys": {"mail": "email", "size": "keep"}}


def test_addresses_of_one_table_are_told_apart() -> None:
    """What begins alike is one address; where there is but one, no group is written."""
    of = catalog(
        table("public.orders", "billing_city text", "billing_zip text", "ship_city text", "ship_zip text"),
        table("public.guests", "city text", "zip text"),
    )
    text = suggest(of, {}, None)
    assert "billing_city: {mask: address.city, group: billing}" in text
    assert "ship_zip: {mask: address.postcode, group: ship}" in text
    assert "      city: address.city" in text


def test_a_table_of_people_is_a_subject() -> None:
    """Dates of one person are shifted alike, so the key of a table of people with such dates is named."""
    of = catalog(table("public.patients", "id int8 pk", "birth_date date"), table("public.rooms", "id int8 pk"))
    text = suggest(of, {}, None)
    assert text.count("subject: id") == 1


def test_a_search_vector_may_stay_where_its_texts_stay() -> None:
    """It holds the words of the row's texts, and no others."""
    shapes = ("title text", "description text", "words tsvector notnull")
    samples = {
        ColumnName.parse("public.films.title"): [b"Film %d" % n for n in range(50)],
        ColumnName.parse("public.films.description"): [b"A story of a cat and dog %d" % n for n in range(50)],
    }
    assert "words: keep" in suggest(catalog(table("public.films", *shapes)), samples, None)
    assert "words: keep" not in suggest(catalog(table("public.guests", *shapes)), samples, None)


def test_a_search_vector_is_made_from_the_texts_whose_words_it_holds() -> None:
    """Of others it would hold words that production's has not; without samples it is made from all."""
    schema = catalog(table("public.mails", "id int8 pk", "sender text", "body text", "search tsvector"))
    samples = {
        "sender": [b"anna%d@mail.example" % n for n in range(50)],
        "body": [b"Dear Mr Keller%d, we are waiting" % n for n in range(50)],
        "search": [b"'dear':1 'keller%d':3 'wait':6" % n for n in range(50)],
    }
    encoded = {ColumnName.parse(f"public.mails.{name}"): values for name, values in samples.items()}
    assert "search: {mask: tsvector, from: [body]}" in suggest(schema, encoded, None)
    del encoded[ColumnName.parse("public.mails.search")]
    assert "search: {mask: tsvector, from: [sender, body]}" in suggest(schema, encoded, None)


@pytest.fixture
def _fresh_presidio() -> Iterator[None]:
    free_text._analyzer.cache_clear()
    yield
    free_text._analyzer.cache_clear()


@pytest.mark.usefixtures("_fresh_presidio")
@pytest.mark.parametrize("has_model", [True, False])
def test_presidio_is_asked_where_it_is_installed(monkeypatch: pytest.MonkeyPatch, *, has_model: bool) -> None:
    """It finds people in texts that would be kept; without a model of spaCy it is left alone."""

    class Engine:
        def __init__(self, **_: object) -> None:
            pass

        def analyze(self, *, text: str, **_: object) -> list[str]:
            return ["PERSON"] if "Anna" in text else []

    provider = SimpleNamespace(create_engine=object)
    engines = SimpleNamespace(NlpEngineProvider=lambda **_: provider)
    monkeypatch.setitem(sys.modules, "presidio_analyzer", SimpleNamespace(AnalyzerEngine=Engine))
    monkeypatch.setitem(sys.modules, "presidio_analyzer.nlp_engine", engines)
    monkeypatch.setitem(sys.modules, "spacy.util", SimpleNamespace(is_package=lambda name: has_model))
    of = catalog(table("public.films", "description text"))
    samples = {ColumnName.parse("public.films.description"): [b"the story of Anna and a cat %d" % n for n in range(50)]}
    text = suggest(of, samples, None)
    assert ("description: text.lorem  # people in texts: 50" in text) is has_model


def test_a_profile_shows_counts_only() -> None:
    """Not even its repr holds a value."""
    profile = Profile.of([b"canary", b"canary", b"bird"])
    assert repr(profile) == "Profile(2 distinct in 3)"
    assert str(profile) == "2 distinct in 3"


def test_what_constraints_list_is_known() -> None:
    """Values that a constraint lists are kept, or one of them is chosen where they are telling; bounds hold."""
    (t,) = catalog(
        table("public.patients", "kind text", "gender char(1) notnull", "salary numeric", "birth_date date notnull")
    ).tables.values()
    listed = "((%s)::text = ANY (ARRAY['M'::text, 'F'::text]))"
    checks = (
        Check("kind", listed % "kind", ("kind",)),
        Check("gender", listed % "gender", ("gender",)),
        Check("born", "((birth_date >= '1930-01-01'::date) AND (birth_date <= now()))", ("birth_date",)),
        Check("salary", "((salary >= 6.50) AND (salary <= (200)::numeric))", ("salary",)),
    )
    text = suggest(catalog(replace(t, checks=checks)), {}, None)
    assert "kind: keep  # a constraint lists its values" in text
    assert "gender: {mask: choice, values: [M, F], satisfies: [gender]}" in text
    assert "salary: {mask: number.within, min: 6.5, max: 200.0, satisfies: [salary]}" in text
    assert "birth_date: {mask: date.truncate, to: year, satisfies: [born]}" in text


def test_addresses_are_of_the_country_that_their_row_keeps() -> None:
    """Where most of its values are countries whose locales are known; each address by its own country."""
    parts = ["street text", "city text", "country text", "ship_city text", "ship_zip text", "ship_country text"]
    of = catalog(table("public.guests", "id int8 pk", *parts))
    countries = {"country": [b"Germany", b"FR", b"Italy"] * 50, "ship_country": [b"Peru", b"Chile", b"Spain"] * 50}
    samples = {ColumnName.parse(f"public.guests.{name}"): values for name, values in countries.items()}
    text = suggest(of, samples, None)
    assert "street: {mask: address.street, locale: {column: country}}  # name: street; countries: 100/150" in text
    assert "city: {mask: address.city, locale: {column: country}}" in text
    assert "ship_city: {mask: address.city, group: ship}" in text
    assert "Germany" not in text


def test_an_address_beside_its_town_is_a_street() -> None:
    """Unless it is called a whole one, or the town is another address's."""
    of = catalog(
        table("public.guests", "address text", "full_address text", "city text"),
        table("public.orders", "address text", "billing_city text", "billing_address text"),
    )
    text = suggest(of, {}, None)
    assert "      address: address.street" in text
    assert "full_address: address.full" in text
    assert "      address: address.full" in text
    assert "billing_address: {mask: address.street, group: billing}" in text


def test_an_address_that_others_share_takes_no_countrys_locale() -> None:
    """What must be masked alike in two tables cannot hang on the row of one."""
    of = catalog(
        table("public.towns", "city text pk", "country text"),
        table("public.guests", "id int8 pk", "city text"),
        foreign_keys=(foreign_key("public.guests(city)", "public.towns(city)"),),
    )
    samples = {ColumnName.parse("public.towns.country"): [b"Germany", b"France"] * 50}
    assert "locale: {column" not in suggest(of, samples, None)


def test_keys_that_are_values_of_a_masked_column_are_data() -> None:
    """Whatever they look like; those of a column that stays say nothing."""
    of = catalog(table("public.members", "handle text", "plan text", "votes jsonb", "features hstore"))
    handles = [b"q%dxor" % n for n in range(5)]
    samples = {
        "public.members.handle": [b"q%dxor" % n for n in range(400)],
        "public.members.plan": [b"gold", b"basic"] * 200,
        "public.members.votes": [b'{"by": {"%s": 1, "%s": 2}}' % (handles[n % 5], handles[n % 3]) for n in range(400)],
        "public.members.features": [b'"gold"=>"%d", "basic"=>"x"' % (n % 3) for n in range(400)],
    }
    text = suggest(of, {ColumnName.parse(name): values for name, values in samples.items()}, None)
    assert "keys: {'$.by': id.uuid}" in text
    assert "features: {mask: hstore, keys: {basic: keep, gold: keep}}" in text
    assert not any(handle.decode() in text for handle in handles)


def test_a_key_that_is_no_word_stands_in_no_rules_file() -> None:
    """Though it be in every document; one that says what it holds may, however it is written."""
    documents = [b'{"Q7kanarZ9x": %d, "home address": {"p.o.": "x"}, "\xc3\xa9tat": "a"}' % n for n in range(100)]
    rule, _ = judge_document("meta", documents, Setting())
    assert "Q7kanarZ9x" not in str(rule)
    assert isinstance(rule, dict)
    assert "$.\u00e9tat" in rule["paths"]


def test_keys_at_any_depth_and_in_any_number_are_judged() -> None:
    """Below what may have a path of its own, keys are masked at all depths; and a map may have very many."""
    deep = b'{"a":' * 3000 + b'{"anna@x.example": "x"}' + b"}" * 3000
    rule, _ = judge_document("deep", [deep] * 5, Setting())
    assert isinstance(rule, dict)
    (out,) = DocumentKeys({path: mask_of(name) for path, name in rule["keys"].items()}, is_jsonb=True).mask([deep])
    assert b"anna@x.example" not in (out or b"anna@x.example")
    many = [json.dumps({f"q{n}k{i}": 1 for i in range(1000)}).encode() for n in range(100)]
    assert judge_document("many", many, Setting())[0] == {"mask": "json", "paths": {}, "keys": {"$": "id.uuid"}}
