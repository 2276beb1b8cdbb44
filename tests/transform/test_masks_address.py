"""Streets, towns, regions, postcodes, countries, coordinates: by themselves, and as one address of a row."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from fix_catalog import catalog, foreign_key, table
from fix_masks import (
    AWKWARD_TEXTS,
    MANY_RUNS,
    assert_function_of_the_row,
    assert_function_of_the_value,
    assert_injective,
    column_of,
    mask_of,
    masked,
    row_mask_of,
    uniqueness_of,
)
from hypothesis import given
from hypothesis import strategies as st

from capture.model import BadInput, Catalog, Index, TableName
from transform.keyring import KeyRing
from transform.masks.base import Mask, RowMask, Uniqueness
from transform.masks.locales import LOCALES
from transform.plan import TablePlan, compile_plan
from transform.rules import Rules

ALL = tuple(LOCALES)
FORMS = {
    "address": r"[1-9]\d{0,2} [A-Z][A-Za-z]+ [A-Z][a-z]+, [A-Z][A-Za-z ]+, [A-Z]{2} \d{5}",
    "address.full": r"[1-9]\d{0,2} [A-Z][A-Za-z]+ [A-Z][a-z]+, [A-Z][A-Za-z ]+, [A-Z]{2} \d{5}",
    "address.street": r"[1-9]\d{0,2} [A-Z][A-Za-z]+ [A-Z][a-z]+",
    "address.city": r"[A-Z][A-Za-z ]+",
    "address.region": r"[A-Z][A-Za-z ]+",
    "address.country": r"[A-Z][^\n]+",
}
NUMBERS = ("address.latitude", "address.longitude")
PLACES: list[bytes | None] = [b"place %d" % n for n in range(1000)]

# By hand, from maps and tables of postcodes: town, region, its code, a form of its postcodes, a box around it.
KNOWN = {
    "en_US": [("Chicago", "Illinois", "IL", r"606\d\d", (41.6, 42.1, -88.0, -87.5)),
              ("Boston", "Massachusetts", "MA", r"021\d\d", (42.2, 42.5, -71.2, -70.9)),
              ("Seattle", "Washington", "WA", r"981\d\d", (47.4, 47.8, -122.5, -122.2))],
    "en_GB": [("Manchester", "Greater Manchester", "ENG", r"M1 \d[A-Z]{2}", (53.4, 53.6, -2.4, -2.1)),
              ("Edinburgh", "City of Edinburgh", "SCT", r"EH1 \d[A-Z]{2}", (55.8, 56.0, -3.3, -3.1))],
    "de_DE": [("München", "Bayern", "BY", r"80\d{3}", (48.0, 48.3, 11.4, 11.8)),
              ("Köln", "Nordrhein-Westfalen", "NW", r"50\d{3}", (50.8, 51.1, 6.8, 7.1)),
              ("Leipzig", "Sachsen", "SN", r"04\d{3}", (51.2, 51.5, 12.2, 12.6))],
    "fr_FR": [("Paris", "Île-de-France", "IDF", r"75\d{3}", (48.7, 49.0, 2.2, 2.5)),
              ("Lyon", "Auvergne-Rhône-Alpes", "ARA", r"69\d{3}", (45.6, 45.9, 4.7, 5.0))],
    "es_ES": [("Madrid", "Comunidad de Madrid", "MD", r"28\d{3}", (40.3, 40.6, -3.9, -3.5)),
              ("Sevilla", "Andalucía", "AN", r"41\d{3}", (37.2, 37.6, -6.2, -5.8))],
    "pt_BR": [("Rio de Janeiro", "Rio de Janeiro", "RJ", r"20\d{3}-\d{3}", (-23.1, -22.7, -43.4, -43.0)),
              ("Curitiba", "Paraná", "PR", r"80\d{3}-\d{3}", (-25.7, -25.2, -49.5, -49.1))],
    "ja_JP": [("新宿区", "東京都", "13", r"160-\d{4}", (35.6, 35.8, 139.6, 139.8)),
              ("札幌市中央区", "北海道", "01", r"060-\d{4}", (42.9, 43.2, 141.2, 141.5))],
}  # fmt: skip
COUNTRY = {
    "en_US": ("United States", "US", "USA"), "en_GB": ("United Kingdom", "GB", "GBR"),
    "de_DE": ("Deutschland", "DE", "DEU"),
    "fr_FR": ("France", "FR", "FRA"), "es_ES": ("España", "ES", "ESP"), "pt_BR": ("Brasil", "BR", "BRA"),
    "ja_JP": ("日本", "JP", "JPN"),
}  # fmt: skip


def texts(values: list[bytes | None]) -> list[str]:
    return [(value or b"").decode() for value in values]


# ------------------------------------------------------------------------------------------------ by themselves


@pytest.mark.parametrize("locale", ["en_US", "ja_JP", ["de_DE", "pt_BR"]])
@pytest.mark.parametrize("name", [*FORMS, *NUMBERS, "address.postcode"])
@MANY_RUNS
@given(values=st.lists(st.sampled_from([*AWKWARD_TEXTS, b"DE", b"usa", b"CA"]) | st.text(max_size=20).map(str.encode)))
def test_addresses_depend_on_the_value_only(name: str, locale: object, values: list[bytes | None]) -> None:
    """An address masks alike alone, in a batch, in any order."""
    assert_function_of_the_value(mask_of(name, locale=locale), values)


@pytest.mark.parametrize("name", FORMS)
def test_addresses_read_like_addresses(name: str) -> None:
    """Masks have the form that the catalogue shows, and vary."""
    out = texts(masked(mask_of(name), PLACES))
    assert all(re.fullmatch(FORMS[name], value) for value in out)
    assert len(set(out)) > {"address.city": 45, "address.region": 30}.get(name, 150)
    assert uniqueness_of(name) is Uniqueness.LOSSY


@given(st.integers(1, 45), st.sampled_from([*FORMS, "address.postcode"]), st.sampled_from(ALL))
def test_addresses_fit_the_column(length: int, name: str, locale: str) -> None:
    """An address is cut to what the column holds, and no blank is left at the cut."""
    column = column_of("varchar", max_length=length)
    rule: dict[str, Any] = {"preserve_format": False} if name == "address.postcode" else {}
    for value in texts(masked(mask_of(name, column, locale=locale, **rule), PLACES[:30])):
        assert value
        assert len(value) <= length
        assert value == value.strip()


def test_case_is_kept_when_asked() -> None:
    """A street in capitals stays in capitals."""
    out = texts(masked(mask_of("address.street", preserve_format=True, locale="fr_FR"), [b"10 RUE DE LA PAIX"]))
    assert out[0].isupper()


@pytest.mark.parametrize("value", ["12345", "SW1A 2AA", "1234-567", "K1A 0B1", "d-12345"])
def test_postcodes_keep_their_form(value: str) -> None:
    """Digits, letters, case and punctuation stay in their places."""
    (out,) = masked(mask_of("address.postcode"), [value.encode()])
    assert out is not None

    def form(text: str) -> str:
        return re.sub("[A-Z]", "A", re.sub("[a-z]", "a", re.sub("[0-9]", "9", text)))

    assert form(out.decode()) == form(value)
    assert out.decode() != value


def test_postcodes_do_not_meet() -> None:
    """All postcodes of five digits are permuted."""
    values = [b"%05d" % n for n in range(100_000)]
    assert_injective(values, masked(mask_of("address.postcode"), [*values]))
    assert uniqueness_of("address.postcode") is Uniqueness.INJECTIVE
    assert uniqueness_of("address.postcode", preserve_format=True) is Uniqueness.INJECTIVE


@pytest.mark.parametrize(("locale", "form"), [("en_US", r"\d{5}"), ("ja_JP", r"\d{3}-\d{4}"), ("pt_BR", r"\d{5}-\d{3}"),
                                              ("en_GB", r"[A-Z]{1,2}\d{1,2} \d[A-Z]{2}")])  # fmt: skip
def test_postcodes_without_their_form_are_those_of_the_locale(locale: str, form: str) -> None:
    """Nothing of the original's form shows."""
    out = texts(masked(mask_of("address.postcode", preserve_format=False, locale=locale), [b"1", "李".encode()]))
    assert all(re.fullmatch(form, value) for value in out)
    assert uniqueness_of("address.postcode", preserve_format=False) is Uniqueness.LOSSY


@pytest.mark.parametrize("name", ["address.country", "address.region"])
def test_codes_become_codes(name: str) -> None:
    """Two or three letters are a code, in their case; a column that holds no more gets codes for all."""
    mask = mask_of(name, locale="en_US")
    two, three, lower, long = texts(masked(mask, [b"FR", b"FRA", b"fr", b"France"]))
    assert re.fullmatch("[A-Z]{2}", two)
    assert re.fullmatch("[a-z]{2}", lower)
    assert re.fullmatch("[A-Z]{3}" if name == "address.country" else "[A-Z]{2}", three)
    assert len(long) > 3
    for length in (2, 3):
        short = texts(masked(mask_of(name, column_of("varchar", max_length=length)), [b"F", "éF".encode(), b"FR"]))
        assert all(re.fullmatch("[A-Z]{2,3}", code) for code in short)
        assert len(set(map(len, short[:2]))) == 1


@pytest.mark.parametrize(("base_type", "shape", "form"), [
    ("float8", {}, r"-?\d{1,3}(\.\d{0,3}[1-9])?"), ("float4", {}, r"-?\d{1,3}(\.\d{0,3}[1-9])?"),
    ("numeric", {}, r"-?\d{1,3}\.\d{4}"), ("numeric", {"scale": 6}, r"-?\d{1,3}\.\d{4}00"),
    ("numeric", {"scale": 2}, r"-?\d{1,3}\.\d{2}"), ("numeric", {"scale": 0}, r"-?\d{1,3}"),
    ("text", {}, r"-?\d{1,3}\.\d{4}"),
])  # fmt: skip
def test_coordinates_are_written_as_the_column_shows_them(base_type: str, shape: dict[str, int], form: str) -> None:
    """With as many decimals as the type keeps, and none that it does not print."""
    for name, limit in (("address.latitude", 90), ("address.longitude", 180)):
        for locale in ALL:
            out = texts(masked(mask_of(name, column_of(base_type, **shape), locale=locale), PLACES[:400]))
            assert all(re.fullmatch(form, value) and value not in {"-0", "-0.00"} for value in out)
            assert all(abs(float(value)) < limit for value in out)


def test_a_column_without_room_for_degrees_is_refused() -> None:
    """numeric(4,2) holds no longitude, and numeric(3,2) no latitude."""

    def numeric(precision: int) -> Any:
        return column_of("numeric", typmod=(precision << 16 | 2) + 4, scale=2)

    mask_of("address.latitude", numeric(4))
    mask_of("address.longitude", numeric(5))
    with pytest.raises(BadInput, match="3 digits"):
        mask_of("address.longitude", numeric(4))
    with pytest.raises(BadInput, match="2 digits"):
        mask_of("address.latitude", numeric(3))


# ------------------------------------------------------------------------------------------------- one address

T = TableName("public", "t")
PARTS = {
    "address": "address.full", "street": "address.street", "city": "address.city", "region": "address.region",
    "code": "address.region", "postcode": "address.postcode", "country": "address.country", "lat": "address.latitude",
    "lon": "address.longitude",
}  # fmt: skip
TYPES = {"lat": "float8", "lon": "float8", "code": "char(3)", "city": "citext"}


def one(**columns: Any) -> TablePlan:
    """The plan of a table of these columns (name to rule) and a key."""
    return plan(catalog(table("public.t", "id int8 pk", *(f"{name} {TYPES.get(name, 'text')}" for name in columns))),
                **columns)  # fmt: skip


def plan(of: Catalog, key: bytes = bytes(32), locale: str = "en_US", **columns: Any) -> TablePlan:
    tables = {str(name): {"columns": {c.name: "keep" for c in each.columns}} for name, each in of.tables.items()}
    tables["public.t"]["columns"] |= columns
    rules = Rules.model_validate({"version": 1, "locale": locale, "tables": tables})
    return compile_plan(rules, of, KeyRing(key, "test")).tables[T]


def mask(by: TablePlan, **columns: list[Any]) -> dict[str, list[Any]]:
    """The masked columns as text."""
    arrays = {
        name: pa.array([value.encode() if isinstance(value, str) else value for value in values], pa.binary())
        for name, values in columns.items()
    }
    out = by.mask(pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays)), escaped=False)
    return {name: texts(out.column(name).to_pylist()) for name in out.schema.names}


def rows(count: int) -> dict[str, list[Any]]:
    """Originals of all parts."""
    return {
        "address": [f"{n} Some Street, Town" for n in range(count)],
        "street": [f"{n} Some Street" for n in range(count)],
        "city": [f"Town {n % 7}" for n in range(count)],
        "region": ["Somewhere"] * count,
        "code": ["ABC"] * count,
        "postcode": [f"{n:05d}" for n in range(count)],
        "country": ["XY"] * count,
        "lat": ["1.5"] * count,
        "lon": ["2.5"] * count,
    }


@pytest.mark.parametrize("locale", ALL)
def test_the_columns_of_an_address_agree(locale: str) -> None:
    """Town, region, postcode, country, coordinates and the line of all of them are of one place."""
    out = mask(one(**{name: {"mask": part, "locale": locale} for name, part in PARTS.items()}), **rows(3000))
    for city, region, code, form, (south, north, west, east) in KNOWN[locale]:
        found = [row for row, written in enumerate(out["city"]) if written == city]
        assert len(found) > 20
        for row in found:
            assert out["region"][row] == region
            assert out["code"][row] == code.ljust(3)
            assert re.fullmatch(form, out["postcode"][row])
            assert south < float(out["lat"][row]) < north
            assert west < float(out["lon"][row]) < east
    assert set(out["country"]) == {COUNTRY[locale][1]}
    for row in range(3000):
        for part in ("street", "city", "postcode"):
            assert out[part][row] in out["address"][row]
    assert len(set(out["street"])) > 1500


def test_the_place_depends_on_all_columns_of_the_address() -> None:
    """Who moves within the town moves elsewhere, and who stays stays; another column of the row says nothing."""
    by = one(street="address.street", city="address.city", other="name.full")
    before = mask(by, street=["1 A St", "2 A St"], city=["Ulm", "Ulm"], other=["x", "y"])
    after = mask(by, street=["1 A St", "3 A St"], city=["Ulm", "Ulm"], other=["z", "y"])
    assert (before["street"][0], before["city"][0]) == (after["street"][0], after["city"][0])
    assert (before["street"][1], before["city"][1]) != (after["street"][1], after["city"][1])


def test_null_and_empty_stay_in_an_address() -> None:
    """A part that is not there is not made up, and the others agree still."""
    by = one(**dict(PARTS.items()))
    full = rows(40)
    some = {name: [None if n % 3 == 0 else "" if n % 3 == 1 and name == "region" else v for n, v in enumerate(values)]
            for name, values in full.items()}  # fmt: skip
    arrays = [
        pa.array([v.encode() if v is not None else None for v in values], pa.binary()) for values in some.values()
    ]
    out = by.mask(pa.RecordBatch.from_arrays(arrays, names=list(some)), escaped=False)
    for name, values in some.items():
        for original, written in zip(values, out.column(name).to_pylist(), strict=True):
            assert (written is None) == (original is None)
            assert (written == b"") == (original == "")


def test_addresses_are_told_apart_by_group() -> None:
    """What is billed goes elsewhere than what is shipped; within a group parts agree."""
    rule = {"locale": "de_DE"}
    by = one(
        bill_city={"mask": "address.city", "group": "billing", **rule},
        bill_code={"mask": "address.postcode", "group": "billing", **rule},
        city={"mask": "address.city", **rule},
        postcode={"mask": "address.postcode", **rule},
    )
    count = 1500
    original = {"bill_city": ["Ulm"] * count, "bill_code": [f"{n:05d}" for n in range(count)]}
    out = mask(by, **original, city=original["bill_city"], postcode=original["bill_code"])
    for city, code in (("bill_city", "bill_code"), ("city", "postcode")):
        for town, _, _, form, _ in KNOWN["de_DE"]:
            found = [row for row, written in enumerate(out[city]) if written == town]
            assert found
            assert all(re.fullmatch(form, out[code][row]) for row in found)
    assert sum(a == b for a, b in zip(out["city"], out["bill_city"], strict=True)) < count / 10


def test_parts_that_occur_twice_without_a_group_stand_alone() -> None:
    """Nobody said which town goes with which street; of regions and countries there may be a name and a code."""
    of = catalog(table("public.t", "id int8 pk", *(f"{name} text" for name in ("a", "b", "c", "d", "e"))))
    twice = {"a": "address.street", "b": "address.street", "c": "address.city", "d": "address", "e": "address.full"}
    assert set(masks_of(of, **twice).values()) == {Mask}
    country = twice | {"d": "address.country", "e": "address.country"}
    assert masks_of(of, **country) == {"a": Mask, "b": Mask, "c": RowMask, "d": RowMask, "e": RowMask}
    named = {name: {"mask": rule, "group": "home"} for name, rule in twice.items()}
    assert set(masks_of(of, **named).values()) == {RowMask}


def test_the_locale_of_an_address_is_said_once() -> None:
    """One column says it for all of them; two that say otherwise are refused."""
    by = one(city={"mask": "address.city", "locale": {"column": "country"}}, country="address.country",
             postcode="address.postcode")  # fmt: skip
    out = mask(by, city=["x", "x", "x"], country=["DE", "JPN", "Atlantis"], postcode=["1", "1", "1"])
    assert out["country"] == ["DE", "JPN", "United States"]
    assert re.fullmatch(r"\d{5}", out["postcode"][0])
    assert re.fullmatch(r"\d{3}-\d{4}", out["postcode"][1])
    with pytest.raises(BadInput, match="different locales"):
        one(city={"mask": "address.city", "locale": "de_DE"}, street={"mask": "address.street", "locale": "fr_FR"})


def test_an_address_of_many_locales_is_of_one_in_each_row() -> None:
    """Of a list, all columns of a row pick the same."""
    rule = {"locale": ["ja_JP", "de_DE"]}
    out = mask(one(**{name: {"mask": PARTS[name], **rule} for name in ("city", "postcode", "country")}),
               city=[str(n) for n in range(300)], postcode=["1"] * 300, country=["XX"] * 300)  # fmt: skip
    for city, postcode, country in zip(out["city"], out["postcode"], out["country"], strict=True):
        assert country == ("JP" if "-" in postcode else "DE")
        assert (re.search("[市区]", city) is not None) == (country == "JP")
    assert 100 < out["country"].count("JP") < 200


def test_what_the_column_type_adds_does_not_part_an_address() -> None:
    """The blanks of char(n) and the case of citext are no part of the value that decides, in any column."""
    by = one(city="address.city", code="address.region", street="address.street")
    out = mask(by, city=["Ulm", "ULM"], code=["BW ", "BW "], street=["a", "a"])
    assert out["city"][0] == out["city"][1]
    assert out["street"][0] == out["street"][1]
    assert all(len(code) == 3 for code in out["code"])
    assert any(
        code.rstrip() in {known[2] for known in KNOWN["en_US"]} | {out["code"][0].rstrip()} for code in out["code"]
    )


def masks_of(of: Catalog, **columns: Any) -> dict[str, type]:
    """Whether columns stand alone, by name."""
    found = plan(of, **columns).masks
    return {name: Mask if isinstance(each, Mask) else RowMask for name, each in found.items()}


def test_columns_of_which_others_may_say_nothing_stand_alone() -> None:
    """Those that are linked, arrays, unique, or keys by which rows are found keep to their own value."""
    street, city, code = "address.street", "address.city", "address.postcode"
    plain = catalog(table("public.t", "id int8 pk", "street text", "city text", "code text"))
    assert set(masks_of(plain, street=street, city=city, code=code).values()) == {RowMask}
    assert set(masks_of(plain, street=street).values()) == {Mask}
    assert set(masks_of(plain, street="name.full", city=city).values()) == {Mask}
    array = catalog(table("public.t", "id int8 pk", "street text", "city text array", "code text"))
    assert masks_of(array, street=street, city=city, code=code) == {"street": RowMask, "city": Mask, "code": RowMask}
    unique = catalog(table("public.t", "id int8 pk", "street text", "city text", "code text unique"))
    assert masks_of(unique, street=street, city=city, code=code) == {"street": RowMask, "city": RowMask, "code": Mask}
    key = catalog(table("public.t", "code text pk", "street text", "city text"))
    assert masks_of(key, street=street, city=city, code=code) == {"street": RowMask, "city": RowMask, "code": Mask}
    linked = replace(
        catalog(
            table("public.t", "id int8 pk", "street text", "city text", "code text"),
            table("public.codes", "code text pk"),
        ),
        foreign_keys=(foreign_key("public.t(code)", "public.codes(code)"),),
    )
    rules = {"public.t": {"columns": {"id": "keep", "street": street, "city": city, "code": code}},
             "public.codes": {"columns": {"code": code}}}  # fmt: skip
    found = compile_plan(Rules.model_validate({"version": 1, "tables": rules}), linked, KeyRing(bytes(32), "test"))
    assert isinstance(found.tables[T].masks["code"], Mask)
    assert isinstance(found.tables[T].masks["street"], RowMask)


def test_a_whole_row_as_identity_may_decide() -> None:
    """With REPLICA IDENTITY FULL old rows come whole."""
    of = catalog(replace(table("public.t", "street text", "city text"), replica_identity="f"))
    assert set(masks_of(of, street="address.street", city="address.city").values()) == {RowMask}


def test_a_postcode_keeps_its_form_in_an_address_if_asked() -> None:
    """Then it agrees with no town."""
    by = one(city="address.city", postcode={"mask": "address.postcode", "preserve_format": True})
    assert mask(by, city=["London"], postcode=["SW1A 2AA"])["postcode"][0] != ""
    assert re.fullmatch(r"[A-Z]{2}\d[A-Z] \d[A-Z]{2}", mask(by, city=["x"], postcode=["SW1A 2AA"])["postcode"][0])


def test_addresses_differ_by_key() -> None:
    """Another key moves everybody."""
    of = catalog(table("public.t", "id int8 pk", "street text", "city text"))
    original = {"street": [f"{n} A" for n in range(300)], "city": ["x"] * 300}
    rules = {"street": "address.street", "city": "address.city"}
    one_key, other = (mask(plan(of, key, **rules), **original) for key in (bytes(32), bytes([1]) * 32))
    assert sum(a == b for a, b in zip(one_key["street"], other["street"], strict=True)) < 5


def test_the_plan_tells_addresses_apart() -> None:
    """Its fingerprint changes when a column joins an address, or when another column says the locale."""
    of = catalog(table("public.t", "id int8 pk", "street text", "city text"))

    def fingerprint(street: Any, city: Any, encoding: str = "UTF8") -> str:
        columns = {"id": "keep", "street": street, "city": city}
        rules = Rules.model_validate({"version": 1, "tables": {"public.t": {"columns": columns}}})
        return compile_plan(rules, replace(of, encoding=encoding), KeyRing(bytes(32), "t")).identities[str(T)]["street"]

    apart = {"mask": "address.city", "group": "x"}
    german = {"mask": "address.city", "locale": "de_DE"}
    found = [fingerprint("address.street", city) for city in ("keep", "address.city", apart, german)]
    assert found[0] == found[2]
    assert len({found[0], found[1], found[3], fingerprint("address.street", "keep", "LATIN1")}) == 4


@MANY_RUNS
@given(
    st.lists(
        st.tuples(*[st.sampled_from(AWKWARD_TEXTS)] * 2, st.sampled_from([None, b"DE", b"jp", b"?", b"Espa\xc3\xb1a"])),
        max_size=20,
    )
)
def test_a_part_depends_on_its_address_only(originals: list[tuple[bytes | None, bytes | None, bytes | None]]) -> None:
    """It masks alike alone, in a batch, in any order; also where the address's locale is a column's."""
    by = one(street="address.street", city={"mask": "address.city", "locale": {"column": "country"}},
             country="address.country")  # fmt: skip
    for name in ("street", "city", "country"):
        of = {part: [row[turn] for row in originals] for turn, part in enumerate(("street", "city", "country"))}
        own = of.pop(name)
        part = by.masks[name]
        assert isinstance(part, RowMask)
        assert_function_of_the_row(part, own, {need: of[need] for need in part.needs})


def test_an_address_by_itself_may_be_in_the_locale_of_a_column() -> None:
    """One column, and another that says where."""
    part = row_mask_of("address.full", rule={"locale": {"column": "country"}})
    (out,) = assert_function_of_the_row(part, [b"x"], {"country": [b"Japan"]})
    assert out is not None
    assert out.decode().startswith("〒")


def test_a_partial_index_of_the_table_parts_nothing_else() -> None:
    """Columns that no index mentions stay together."""
    of = catalog(
        table("public.t", "id int8 pk", "street text", "city text", indexes=(Index("i", ("id",), predicate="id > 5"),))
    )
    assert set(masks_of(of, street="address.street", city="address.city").values()) == {RowMask}
