"""Images of rows hold what the rows themselves hold in the copy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from fix_masks import column_of, mask_of
from pydantic import ValidationError

from capture.model import BadInput, Column, ServerFailed, TableName
from tests.fix_postgres import Server
from transform import hstoretext, jsontext
from transform.cmac import Prf
from transform.masks.arrays import ArrayMask
from transform.masks.base import AnyMask, Build, DerivedMask, Mask, RowMask, mask_kind
from transform.masks.document_keys import DocumentKeys
from transform.masks.documents import Documents
from transform.masks.image_values import ImageColumn

GUESTS = TableName("public", "guests")
DOCUMENT_MASK = Documents(Prf(bytes(16)), "UTF8")
EMAILS_AS_KEYS = DocumentKeys({"$": mask_of("email")}, is_jsonb=False)


class Joined(RowMask):
    """The value with the row's id."""

    needs = ("id",)

    def apply_rows(self, values: pa.BinaryArray, siblings: Mapping[str, pa.BinaryArray]) -> pa.BinaryArray:
        pairs = zip(values.to_pylist(), siblings["id"].to_pylist(), strict=True)
        return pa.array([b"%s of %s" % (value, key or b"nobody") for value, key in pairs], pa.binary())


class Greeting(DerivedMask):
    """A text with the masked address."""

    sources = ("email",)

    def derive(self, values: pa.BinaryArray, masked: Mapping[str, pa.BinaryArray]) -> pa.BinaryArray:
        return pa.array([b"Hello %s" % (one or b"you") for one in masked["email"].to_pylist()], pa.binary())


class OnlyDigits(Mask):
    """A mask that cannot read all values, as those of a column whose type was changed."""

    def apply(self, values: pa.BinaryArray) -> pa.BinaryArray:
        if not all(value.isdigit() for value in values.to_pylist()):
            raise ServerFailed("a number did not arrive as PostgreSQL writes numbers.")
        return pa.array([b"1" * len(value) for value in values.to_pylist()], pa.binary())


def named(
    name: str, base_type: str, mask: Mask | None, *, is_array: bool = False
) -> tuple[str, tuple[Mask | None, Column]]:
    masks = ArrayMask(mask) if is_array and mask is not None else mask
    return name, (masks, Column(name, 1, 0, -1, base_type, base_type, is_array=is_array))


def noise(base_type: str) -> Mask:
    return mask_of("number.noise", column_of(base_type), ratio=0.5)


def shift(base_type: str) -> Mask:
    return mask_of("date.shift", column_of(base_type), days=300)


COLUMNS: dict[str, tuple[Mask | None, Column]] = dict(
    [
        named("id", "int8", None),
        named("email", "text", mask_of("email")),
        named("visits", "int4", noise("int4")),
        named("total", "numeric", noise("numeric")),
        named("ratio", "float8", noise("float8")),
        named("weight", "float4", noise("float4")),
        named("vip", "bool", mask_of("constant", column_of("bool"), value=True)),
        named("born", "date", shift("date")),
        named("seen", "timestamp", shift("timestamp")),
        named("created", "timestamptz", shift("timestamptz")),
        named("notes", "text", mask_of("null")),
        named("prefs", "jsonb", DOCUMENT_MASK),
        named("tags", "text", mask_of("text.lorem"), is_array=True),
        named("scores", "numeric", noise("numeric"), is_array=True),
        named("moments", "timestamptz", shift("timestamptz"), is_array=True),
        named("extras", "jsonb", DOCUMENT_MASK, is_array=True),
        named("shared", "json", Documents(Prf(bytes(16)), "UTF8", keys=EMAILS_AS_KEYS)),
        named("owners", "json", Documents(Prf(bytes(16)), "UTF8", keys=EMAILS_AS_KEYS), is_array=True),
        named("theme", "json", mask_of("constant", column_of("json"), value='{"long":1e2,"b":[ ]}')),
        named("kept", "text", None, is_array=True),
    ]
)


WITH_SIBLINGS: dict[str, tuple[AnyMask | None, Column]] = {
    "id": (None, column_of("int8")),
    "email": (mask_of("email"), column_of()),
    "label": (Joined(), column_of()),
    "greeting": (Greeting(), column_of()),
    "number": (OnlyDigits(), column_of("int8")),
}
LETTERS = TableName("public", "letters")


class Tables:
    """A plan that knows two tables."""

    def knows(self, table: TableName) -> bool:
        return table in {GUESTS, LETTERS}

    def image_masks(self, table: TableName) -> Mapping[str, tuple[AnyMask | None, Column]] | None:
        return {GUESTS: COLUMNS, LETTERS: WITH_SIBLINGS}.get(table)


ROW = {"table_schema": column_of(), "table_name": column_of()}


def row_image(base_type: str = "jsonb", row: Mapping[str, Column] | None = None, **params: str) -> RowMask:
    kind = mask_kind("row_image")
    build = Build(Prf(bytes(32)), column_of(base_type), tables=Tables(), row=ROW if row is None else row)
    mask = kind.build(kind.params(**params), build)
    assert isinstance(mask, RowMask)
    return mask


def masked(
    images: list[bytes | None], mask: RowMask | None = None, **siblings: list[bytes | None]
) -> list[bytes | None]:
    arrays = {name: pa.array(values, pa.binary()) for name, values in siblings.items()}
    out: list[bytes | None] = (mask or row_image()).apply_rows(pa.array(images, pa.binary()), arrays).to_pylist()
    return out


IMAGE = b'{"id": 7, "email": "grace@navy.mil", "notes": null, "gone": "secret"}'


def email_of(address: bytes) -> str:
    return str(mask_of("email").apply(pa.array([address], pa.binary()))[0].as_py().decode())


def test_the_table_is_found_by_the_row() -> None:
    """table_schema and table_name say whose image it is; without a schema column it is public; or the rules say."""
    expected = email_of(b"grace@navy.mil")
    by_row = masked([IMAGE], table_schema=[b"public"], table_name=[b"guests"])
    assert by_row == masked([IMAGE], table_name=[b"guests"]) == masked([IMAGE], row_image(table="public.guests"))
    out = json.loads(by_row[0] or b"")
    assert (out["id"], out["email"], out["notes"]) == (7, expected, None)
    assert row_image().needs == ("table_schema", "table_name")
    assert row_image(table="public.guests").needs == ()


@pytest.mark.parametrize(
    ("schema", "table"),
    [(b"public", b"unknown"), (b"other", b"guests"), (b"public", None), (None, b"guests"), (b"\xff", b"guests")],
)
def test_images_of_unknown_tables_are_scrambled(schema: bytes | None, table: bytes | None) -> None:
    """Every leaf is; so it is where the row does not say whose image it holds."""
    for siblings in ({"table_schema": [schema], "table_name": [table]}, {}):
        (out,) = masked([IMAGE], **siblings)
        assert json.loads(out or b"").keys() == json.loads(IMAGE).keys()
        assert not any(leaf in (out or b"") for leaf in (b"grace", b"navy", b"secret"))


def test_keys_inside_what_no_rule_decides_are_scrambled() -> None:
    """They may be data. Two keys never become one, and jsonb's order of keys is kept."""
    image = b'{"id": 7, "book": {"bo": 1, "al": {"grace": 1}, "grace@navy.mil": 3}}'
    (unknown,) = masked([image], table_name=[b"unknown"])
    (gone,) = masked([image.replace(b"book", b"gone")], table_name=[b"guests"])
    for out, name in ((unknown, "book"), (gone, "gone")):
        assert b"grace" not in (out or b"")
        document = json.loads(out or b"")
        assert document.keys() == {"id", name}
        keys = list(document[name])
        assert [len(key) for key in keys] == [2, 2, 14]
        assert keys[:2] == sorted(keys[:2])


@pytest.mark.parametrize(
    "document", ['[{"grace": 1}]', '{"ok": [[{"grace": [{"grace": 1}]}]]}', '[[[{"a": {"grace": 1}}]]]']
)
def test_keys_inside_arrays_that_no_rule_decides_are_scrambled(document: str) -> None:
    """In arrays of what is at a column, at whatever depth, and in arrays of images."""
    images: list[bytes | None] = [f'{{"gone": {document}}}'.encode(), document.encode()]
    for out in (*masked(images, table_name=[b"unknown"] * 2), *masked(images[:1], table_name=[b"guests"])):
        assert b"grace" not in (out or b"")
        assert len(out or b"") > len(document) // 2


def test_columns_that_the_plan_does_not_know_are_scrambled() -> None:
    """A column that was dropped, or that is computed, has no rule."""
    (out,) = masked([IMAGE], table_name=[b"guests"])
    gone = json.loads(out or b"")["gone"]
    assert gone != "secret"
    assert len(gone) == len("secret")


@pytest.mark.parametrize("document", [b'"secret"', b'["secret"]', b"12345678"])
def test_documents_that_are_no_images_are_scrambled(document: bytes) -> None:
    """They say nothing of columns."""
    (out,) = masked([document], table_name=[b"guests"])
    assert out != document
    assert len(out or b"") == len(document)


def test_images_do_not_depend_on_each_other() -> None:
    """An image masks alike alone, in a batch of several tables, in any order; NULL stays NULL."""
    images: list[bytes | None] = [IMAGE, None, b"{}", b'{"email": "a@b.c"}', b"null", IMAGE]
    tables: list[bytes | None] = [b"guests", b"guests", b"guests", b"guests", b"unknown", b"unknown"]
    out = masked(images, table_name=tables)
    assert out[1:3] == [None, b"{}"]
    assert masked(images[::-1], table_name=tables[::-1]) == out[::-1]
    for row in range(len(images)):
        assert masked(images[row : row + 1], table_name=tables[row : row + 1]) == out[row : row + 1]
    column, names = pa.array(images, pa.binary())[2:], pa.array(tables, pa.binary())[2:]
    assert row_image().apply_rows(column, {"table_name": names}).to_pylist() == out[2:]
    assert masked([]) == []


def test_values_written_as_strings_stay_strings() -> None:
    """An image may hold the text of every column, as one that was made from hstore does."""
    image = b'{"visits": "1000", "vip": "f", "created": "2024-01-31 10:00:00+00", "email": "a@b.c", "prefs": 5}'
    out = json.loads(masked([image], table_name=[b"guests"])[0] or b"")
    assert out["visits"] == noise("int4").apply(pa.array([b"1000"], pa.binary()))[0].as_py().decode()
    assert out["vip"] == "t"
    assert (
        out["created"]
        == shift("timestamptz").apply(pa.array([b"2024-01-31 10:00:00+00"], pa.binary()))[0].as_py().decode()
    )


@pytest.mark.parametrize("value", ['{"a": "secret"}', '["secret", "x"]'])
def test_values_that_no_column_of_the_type_holds_are_scrambled(value: str) -> None:
    """An object stands where a text should."""
    (out,) = masked([f'{{"email": {value}}}'.encode()], table_name=[b"guests"])
    assert b"secret" not in (out or b"")
    assert json.dumps(json.loads(value)).count(":") == (out or b"").count(b":") - 1


@pytest.mark.parametrize(
    "value",
    ['[["secret"], "x"]', '["x", ["secret"]]', '[["a"], ["secret", "x"]]', "[[]]", "[[], []]", '[[], "secret"]'],
)
def test_an_array_that_has_no_shape_is_scrambled(value: str) -> None:
    """The column may have been jsonb when the image was made."""
    (out,) = masked([f'{{"tags": {value}}}'.encode()], table_name=[b"guests"])
    tags = json.loads(out or b"")["tags"]
    assert b"secret" not in (out or b"")
    assert len(json.dumps(tags)) == len(value)


def test_a_time_keeps_its_offset() -> None:
    """The image of a session in another time zone holds the same instant."""
    column = ImageColumn(column_of("timestamptz"), "jsonb")
    token = b'"2024-01-31T23:30:00.25+05:30"'
    assert column.to_text(token) == b"2024-01-31 18:00:00.25+00"
    assert column.to_json(b"2024-02-10 18:00:00.25+00", token) == b'"2024-02-10T23:30:00.25+05:30"'
    assert column.to_json(b"infinity", token) == b'"infinity"'


def test_a_table_is_written_as_schema_and_name() -> None:
    """Anything else, and a table that is not there, is the rules' mistake."""
    with pytest.raises(ValidationError, match=r"schema\.table"):
        mask_kind("row_image").params.model_validate({"table": "guests"})
    with pytest.raises(BadInput, match=r"no table public\.gests"):
        row_image(table="public.gests")


@pytest.mark.parametrize(
    ("columns", "params", "needs"),
    [
        # supa_audit's audit.record_version and audit-trigger's audit.logged_actions
        (["record", "old_record", "table_oid", "table_schema", "table_name"], {}, ("table_schema", "table_name")),
        (["schema_name", "table_name", "relid", "row_data"], {}, ("schema_name", "table_name")),
        (["table_name"], {}, ("table_name",)),
        (["s", "t"], {"schema_column": "s", "table_column": "t"}, ("s", "t")),
        (["t"], {"table_column": "t"}, ("t",)),
        (["table_schema", "table_name", "t"], {"table_column": "t"}, ("table_schema", "t")),
    ],
)
def test_shapes_of_audit_trails(columns: list[str], params: dict[str, str], needs: tuple[str, ...]) -> None:
    """Columns that name the table are known by their names, or the rules name them."""
    mask = row_image(row=dict.fromkeys(columns, column_of()), **params)
    assert mask.needs == needs
    siblings: dict[str, list[bytes | None]] = {needs[-1]: [b"guests"], **({needs[0]: [b"public"]} if needs[1:] else {})}
    assert masked([IMAGE], mask, **siblings) == masked([IMAGE], table_name=[b"guests"])


@pytest.mark.parametrize(("row", "params"), [(["id"], {}), (["id", "table_name"], {"table_column": "tabel"})])
def test_images_of_nothing_are_refused(row: list[str], params: dict[str, str]) -> None:
    """A rule that could only scramble is a mistake."""
    with pytest.raises(BadInput, match=r"nothing says whose|no decided column"):
        row_image(row=dict.fromkeys(row, column_of()), **params)


def letter(**values: Any) -> dict[str, Any]:
    (out,) = masked([json.dumps(values).encode()], table_name=[b"letters"])
    found: dict[str, Any] = json.loads(out or b"")
    return found


def test_a_mask_reads_the_rest_of_the_image() -> None:
    """What it needs of the row stands in the image, too: as it was, or for what is derived, as it is masked."""
    out = letter(label="x", id=7, greeting="y", email="grace@navy.mil")
    assert out == {
        "label": "x of 7",
        "id": 7,
        "greeting": f"Hello {out['email']}",
        "email": email_of(b"grace@navy.mil"),
    }
    out = letter(label="x", id=None, greeting="y", email=None)
    assert out == {"label": "x of nobody", "id": None, "greeting": "Hello you", "email": None}


def test_what_lacks_its_siblings_is_scrambled() -> None:
    """An image of changed columns only holds no others."""
    out = letter(label="secret", greeting="hidden")
    assert out["label"] not in ("secret", "")
    assert out["greeting"] not in ("hidden", "")
    assert [len(out["label"]), len(out["greeting"])] == [6, 6]


def test_values_that_the_mask_cannot_read_are_scrambled() -> None:
    """Images may be older than a column's type; others of the batch are masked as ever."""
    images: list[bytes | None] = [b'{"number": "secret"}', b'{"number": 234}', b'{"number": "78"}']
    out = masked(images, table_name=[b"letters"] * 3)
    assert out[1:] == [b'{"number": 111}', b'{"number": "11"}']
    assert b"secret" not in (out[0] or b"")
    assert len(out[0] or b"") == len(images[0] or b"")
    for image, alone in zip(images, out, strict=True):
        assert masked([image], table_name=[b"letters"]) == [alone]


HSTORE_IMAGE: dict[str, str | None] = {
    "id": "7",
    "vip": "f",
    "born": "1906-12-09",
    "tags": '{a,"b c"}',
    "email": 'gr"ace@navy.mil',
    "notes": None,
    "prefs": '{"a": [1, "x\\"y"]}',
    "total": "1234.50",
    "unknown": "secret",
}


def test_hstore_images_hold_the_text_of_the_masked_row() -> None:
    """Each value is masked as the column's text is, and unknown ones are scrambled."""
    pairs = sorted(
        ((key.encode(), None if text is None else text.encode()) for key, text in HSTORE_IMAGE.items()),
        key=lambda pair: (len(pair[0]), pair[0]),
    )
    (out,) = masked([hstoretext.write(pairs)], row_image("hstore"), table_name=[b"guests"])
    after = dict(hstoretext.parse(out or b""))
    assert list(after) == [key for key, _ in pairs]
    for key, text in pairs:
        if key != b"unknown":
            mask = COLUMNS[key.decode()][0]
            assert after[key] == (text if mask is None else mask.apply(pa.array([text], pa.binary()))[0].as_py())
    assert after[b"unknown"] != b"secret"
    assert masked([b"", None], row_image("hstore"), table_name=[b"guests", b"guests"]) == [b"", None]
    unknown = masked([b'"email"=>"secret"'], row_image("hstore"), table_name=[b"other"])
    assert hstoretext.parse(unknown[0] or b"")[0][1] != b"secret"


@pytest.mark.parametrize(
    ("text", "in_utc", "moved", "back"),
    [
        ("2024-01-31 23:30:00+05:30", "2024-01-31 18:00:00+00", "2024-02-10 18:00:00+00", "2024-02-10 23:30:00+05:30"),
        ("2024-01-31 10:00:00-08", "2024-01-31 18:00:00+00", "2024-02-10 18:00:00+00", "2024-02-10 10:00:00-08"),
        ("2024-01-31 10:00:00+00", "2024-01-31 10:00:00+00", "2024-02-10 10:00:00+00", "2024-02-10 10:00:00+00"),
        ("infinity", "infinity", "infinity", "infinity"),
    ],
)  # fmt: skip
def test_a_time_in_text_keeps_its_offset(text: str, in_utc: str, moved: str, back: str) -> None:
    """hstore(row) writes times as the session saw them; the mask gets what the column itself would show."""
    column = ImageColumn(column_of("timestamptz"), "hstore")
    token = jsontext.quote(text.encode())
    assert column.to_text(token) == in_utc.encode()
    assert column.to_json(moved.encode(), token) == jsontext.quote(back.encode())


VALUES: dict[str, list[str | None]] = {
    "email": ["grace@navy.mil", "", 'q"\\\n\tä李', None],
    "visits": ["100", "-2147483648", "0", None],
    "total": ["1234.50", "NaN", "-0.001", "99999999999999999999.9"],
    "ratio": ["12.5", "1e+22", "-Infinity", "-3.250296022406579e+16"],
    "weight": ["0.1", "1e-07", "-9.68137e+07", "16777216"],
    "vip": ["t", "f", None, "f"],
    "born": ["1906-12-09", "infinity", "0044-03-15 BC", "9999-12-31"],
    "seen": ["2024-01-31 10:00:00", "2024-01-31 10:00:00.25", "-infinity", "0044-03-15 10:00:00 BC"],
    "created": ["2024-01-31 10:00:00+00", "1969-07-20 20:17:40.5+00", "infinity", "0300-01-01 00:00:00+00"],
    "notes": ["x", None, "", "y"],
    "prefs": ['{"a": [1, {"b": "x"}], "c": 1.50}', '"x"', "5", "[]"],
    "tags": ['{a,"b c",NULL}', "{}", '{{x,"\\"\\\\"},{y,z}}', None],
    "scores": ["{1.50,NULL}", "{}", "{{100,200}}", "{NaN}"],
    "moments": ['{"2024-01-31 10:00:00+00"}', "{}", "{infinity,NULL}", None],
    "extras": ['{"{\\"a\\": [1]}",NULL,"[]"}', "{}", '{"\\"x\\""}', None],
    "shared": [
        '{"ada@x.org": 1, "grace@navy.mil": [2], "a@b.c": {}}',
        "{}",
        '{"z@x.org":  "\\u0041b", "b": -0.0}',
        None,
    ],
    "owners": ['{"{\\"ada@x.org\\":1,\\"grace@navy.mil\\":2,\\"a@b.c\\":3}",NULL}', "{}", "{[]}", None],
    "theme": ["{}", "1", None, "[]"],
    "kept": ["{a}", "{}", None, '{"b c"}'],
}


@pytest.mark.integration
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "Pacific/Marquesas"])
def test_an_image_holds_the_values_of_the_masked_row(server18: Server, zone: str) -> None:
    """to_jsonb of a masked row is the masked to_jsonb of the row, in whatever time zone the image was made."""
    types = {name: column.base_type + "[]" * column.is_array for name, (_, column) in COLUMNS.items() if name != "id"}
    image = (
        f"SELECT to_jsonb(r)::text FROM (SELECT {', '.join(f'%s::{kind} AS {name}' for name, kind in types.items())}) r"
    )
    with psycopg.connect(server18.url(), options="-c TimeZone=UTC") as connection:
        for number in range(4):
            values = [
                (connection.execute(f"SELECT (%s::{kind})::text", [VALUES[name][number]]).fetchone() or ("",))[0]
                if kind != "bool" else VALUES[name][number]
                for name, kind in types.items()
            ]  # fmt: skip
            expected = [
                value if (mask := COLUMNS[name][0]) is None
                else mask.apply(pa.array([None if value is None else value.encode()], pa.binary()))[0].as_py()
                for name, value in zip(types, values, strict=True)
            ]  # fmt: skip
            connection.execute(f"SET TimeZone = '{zone}'")
            (before,) = connection.execute(image, values).fetchone() or ("",)
            (after,) = connection.execute(
                image, [one.decode() if isinstance(one, bytes) else one for one in expected]
            ).fetchone() or ("",)
            connection.execute("SET TimeZone = UTC")
            (out,) = masked([before.encode()], table_name=[b"guests"])
            assert json.loads(out or b"", parse_float=str) == json.loads(after, parse_float=str)
            if zone == "UTC":
                assert (out or b"").decode() == after
