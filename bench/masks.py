"""``python -m bench.masks [--rows N] [NAME ...]``: what each mask costs a value, and each step of a snapshot a row.

CPU time of this process, the least of many runs, so that other work on the machine weighs little. A mask is measured
over a block's worth of values, where its cost per value shows, and over one and twenty, where that of a call does.
Every mask is bound by a plan of its own, as it would be in a copy, and what costs more than the goal is listed.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
from rich.console import Console
from rich.table import Table as Shown

from capture.model import Catalog, Column, Index, Table, TableName
from transform import copytext
from transform.keyring import KeyRing
from transform.masks.base import MASKS, AnyMask, DerivedMask, RowMask
from transform.plan import TablePlan, compile_plan
from transform.rules import Rules

_ROWS: Final = 5_000
_SECONDS: Final = 0.15
_SMALL: Final = (1, 20)
_GOAL: Final = 2.0  # us a value
_KEYRING: Final = KeyRing(bytes(32), "bench")


def _plain(n: int) -> str:
    return f"Value {n % 4999}"


@dataclass(frozen=True, slots=True)
class _Case:
    """What a mask is measured on: the value of row n of a column of that type, the rule's parameters, and values of
    the row's other columns, which are text and have the mask ``beside``."""

    type_name: str = "text"
    write: Callable[[int], str] = _plain
    params: Mapping[str, Any] = field(default_factory=dict)
    row: Mapping[str, Callable[[int], str]] = field(default_factory=dict)
    beside: str = "name.first"


def _date(n: int) -> str:
    return f"19{n % 100:02d}-0{1 + n % 9}-1{n % 10}"


def _guest(n: int) -> str:
    return f'{{"id": {n}, "email": "{_mail(n)}"}}'


def _mail(n: int) -> str:
    return f"person.{n}@mail{n % 50}.example.com"


def _phone(n: int) -> str:
    return f"+49 30 {n * 7919 % 10_000_000:07d}"


def _words(n: int) -> str:
    return f"{n:032x} asked for {n + 1:032x}"


def _address(n: int) -> str:
    return f"{n % 250}.{n * 7 % 250}.{n // 250}.9"


def _account(n: int) -> str:
    return f"0532-{n * 9871 % 100_000:05d}"


def _country(n: int) -> str:
    return ("DE", "Japan", "fr_FR", "xx")[n % 4]


_BY_COUNTRY: Final[dict[str, Any]] = {"params": {"locale": {"column": "country"}}, "row": {"country": _country}}


# For the masks whose own example tells too little of what they are used on.
_CASES: Final[dict[str, tuple[_Case, ...]]] = {
    "address": (_Case(), _Case(row={"city": _plain}, beside="address.city")),
    "address.city": (_Case(), _Case(params={"locale": "ja_JP"}, row={"street": _plain}, beside="address.street")),
    "address.country": (_Case(write=lambda n: ("DE", "Germany")[n % 2]),),
    "address.latitude": (_Case("float8", lambda n: f"51.{n:04d}"),),
    "address.longitude": (_Case("float8", lambda n: f"-0.{n:04d}"),),
    "date.age_band": (_Case("date", _date),),
    "date.shift": (_Case("date", _date, {"days": 30}),),
    "date.truncate": (
        _Case("date", _date, {"to": "week"}),
        _Case("timestamptz", lambda n: f"{_date(n)} 10:11:12.5+00", {"to": "hour"}),
    ),
    "email": (_Case(write=_mail), _Case(write=_mail, params={"preserve_format": True})),
    "gender": (_Case(write=lambda n: ("male", "female", "F")[n % 3]),),
    "financial": (_Case(write=_account), _Case("int8", str)),
    "financial.account": (_Case(write=_account), _Case("int8", lambda n: str(532_013_000 + n))),
    "financial.amount": (_Case("numeric", lambda n: f"{n}.50"), _Case("money", lambda n: f"${n % 999}.50")),
    "financial.bic": (_Case(write=lambda n: f"DEUTDEFF{n % 900 + 100}"),),
    "financial.card": (_Case(write=lambda n: f"4111 1111 {n:08d}"),),
    "financial.iban": (_Case(write=lambda n: f"GB82 WEST 1234 56{n:08d}"),),
    "hstore": (_Case("hstore", lambda n: f'"mail"=>"{_mail(n)}", "tier"=>"gold"', {"keys": {"tier": "keep"}}),),
    "id.int": (_Case("int8", str), _Case(write=str)),
    "id.national": (
        _Case(write=lambda n: f"{100 + n % 500}-45-{1 + n % 9000:04d}"),
        _Case(write=lambda n: f"86 {n % 1000:03d} 095 742", params={"locale": "de_DE"}),
        _Case(write=lambda n: f"1 85 12 75 123 {1 + n % 900:03d} 55", params={"locale": "fr_FR"}),
    ),
    "id.plate": (_Case(write=lambda n: f"B-AB {n:04d}"),),
    "id.pattern": (
        _Case(write=lambda n: f"KD-{n:04d}-3", params={"pattern": "AA-9999-9"}),
        _Case(write=lambda n: f"{n:030d}", params={"pattern": "9{30}"}),
    ),
    "id.secret": (
        _Case(write=lambda n: f"sk_live_{n * 7919:024d}"),
        _Case("bytea", lambda n: f"\\x{n:032x}"),
    ),
    "id.uuid": (_Case("uuid", lambda n: f"{n:08x}-0b7d-4c2a-9e51-{n:012x}"),),
    "json": (_Case("jsonb", lambda n: f'{{"tier": "gold", "visits": {n}}}', {"paths": {"$.tier": "keep"}}),),
    "network.ip": (
        _Case("inet", _address),
        _Case(write=_address),
        _Case("inet", lambda n: f"2a02:810d:{n:x}:12::{n * 7:x}"),
    ),
    "network.mac": (_Case("macaddr", lambda n: f"08:00:2b:{n % 100:02x}:{n * 7 % 256:02x}:03"),),
    "name.full": (
        _Case(),
        _Case(params={"locale": "ja_JP"}),
        _Case(params={"locale": "de_DE", "preserve_format": True}),
        _Case(params={"locale": ["de_DE", "ja_JP"]}),
        _Case(**_BY_COUNTRY),
    ),
    "number.band": (
        _Case("int4", str, {"width": 50}),
        _Case("numeric", lambda n: f"{n}.50", {"width": 50}),
        _Case("float8", lambda n: repr(n * 1.1), {"width": 50}),
    ),
    "number.noise": (_Case("numeric", lambda n: f"{n}.50"), _Case("float8", lambda n: repr(n * 1.1))),
    "number.within": (
        _Case("int4", str, {"min": 0, "max": 1000}),
        _Case("float8", lambda n: repr(n * 1.1), {"min": 0, "max": 1}),
    ),
    "phone": (_Case(write=_phone), _Case(write=_phone, params={"preserve_format": True})),
    "url": (
        _Case(write=lambda n: f"https://www.example.net/people/{n}?lang=de"),
        _Case(write=lambda n: f"https://www.example.net/people/{n}?lang=de", params={"preserve_format": True}),
    ),
    "row_image": (_Case("jsonb", _guest, {"table": "public.people"}),),
    "text.lorem": (_Case(write=_words),),
    "tsvector": (
        _Case("tsvector", lambda n: f"'call':1 'guest{n % 500}':2A 'late':4,7"),
        _Case("tsvector", lambda n: f"'call':1 'guest{n % 500}':2A", {"from": ["notes"]}, row={"notes": _words}),
    ),
    "text.partial": (_Case(write=_words, params={"keep_last": 4}),),
    "text.regex": (
        _Case(write=lambda n: f"Room {n}, Keller", params={"pattern": r"^Room (\d+),.*$", "replacement": r"Room \1"}),
    ),
    "text.scramble": (
        _Case(write=_mail),
        _Case(write=lambda n: f"{chr(0x4E00 + n % 5000)}沢{chr(0x5000 + n % 4000)}子{n % 10}号室"),
    ),
    "text.template": (
        _Case(write=_mail, params={"template": "{first_name}.{#}@example.com"}, row={"first_name": _plain}),
    ),
}
_TABLE: Final = TableName("public", "measured")
_OTHER_TABLE: Final = TableName("public", "people")

# The columns of ``dataset.TABLE``, and the masks of ``dataset.MASKED``.
_COLUMNS: Final = (
    "id", "email", "first_name", "last_name", "phone", "street", "city", "country", "notes", "amount", "active",
    "created_at",
)  # fmt: skip
_MASKED: Final = {
    "email": "email",
    "first_name": "name.first",
    "last_name": "name.last",
    "phone": "phone",
    "street": "address.street",
    "notes": "text.lorem",
}
_NOT_MEASURED: Final = "keep"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.masks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="masks to measure; without, all of them")
    parser.add_argument("--rows", type=int, default=_ROWS, help=f"values in a batch ({_ROWS})")
    arguments = parser.parse_args()
    # As in a worker.
    pa.set_cpu_count(1)
    gc.freeze()
    out = Console(highlight=False)
    shown, above = _masks(arguments.names or sorted(set(MASKS) - {_NOT_MEASURED}), arguments.rows)
    out.print(shown)
    out.print(f"above {_GOAL:g} us a value: {', '.join(above) or 'none'}")
    if not arguments.names:
        out.print(_steps(arguments.rows))


def _masks(names: Sequence[str], rows: int) -> tuple[Shown, list[str]]:
    """What all masks cost, and which cost more than the goal."""
    shown = Shown("mask", "type", "us a value", *(f"a call of {few}" for few in _SMALL))
    for column in shown.columns[:2]:
        column.no_wrap = True
    above = []
    for name in names:
        for case in _CASES.get(name) or (_example(name),):
            calls = [_microseconds(_work(name, case, count)) for count in (rows, *_SMALL)]
            a_value = calls[0] / rows
            shown.add_row(name, case.type_name, f"{a_value:.3f}", *(f"{call:.0f}" for call in calls[1:]))
            if a_value > _GOAL:
                above.append(f"{name} ({case.type_name})")
    return shown, above


def _example(name: str) -> _Case:
    """The mask's own first example, with other values."""
    example = MASKS[name].examples[0]
    return _Case(params=example.params)


def _work(name: str, case: _Case, rows: int) -> Callable[[], object]:
    """Masking a column of so many values, without what is around it."""
    mask = _bind(name, case)
    values = _column(case.write, rows)
    others = {column: _column(write, rows) for column, write in case.row.items()}
    match mask:
        case RowMask():
            return lambda: mask.apply_rows(values, others)
        case DerivedMask():
            return lambda: mask.derive(values, others)
        case _:
            return lambda: mask.apply(values)


def _column(write: Callable[[int], str], rows: int) -> pa.BinaryArray:
    return pa.array([write(n).encode() for n in range(rows)], pa.binary())


def _bind(name: str, case: _Case) -> AnyMask:
    """The mask as a plan binds it, in a table with the row's other columns, beside one that row images may name."""
    measured = {"c": {"mask": name, **case.params}, **dict.fromkeys(case.row, case.beside)}
    tables = [
        _table(_TABLE, {"c": case.type_name, **dict.fromkeys(case.row, "text")}),
        _table(_OTHER_TABLE, {"id": "int8", "email": "text"}),
    ]
    catalog = Catalog("1", "bench", 180_000, "UTF8", {table.name: table for table in tables})
    rules = {str(_TABLE): {"columns": measured}, str(_OTHER_TABLE): {"columns": {"id": "id.int", "email": "email"}}}
    plan = compile_plan(Rules.model_validate({"version": 1, "tables": rules}), catalog, _KEYRING)
    return plan.tables[_TABLE].masks["c"]


def _table(name: TableName, columns: Mapping[str, str]) -> Table:
    shapes = [
        Column(column, number, 0, -1, type_name, type_name)
        for number, (column, type_name) in enumerate(columns.items(), 1)
    ]
    key = (Index(f"{name.name}_pkey", ("id",), is_primary=True),) if "id" in columns else ()
    return Table(1, name, "r", tuple(shapes), indexes=key)


def _steps(rows: int) -> Shown:
    """The way of a block of ``dataset.TABLE`` through a worker, save for the servers' part."""
    names = _COLUMNS
    block = b"".join(map(_row, range(rows)))
    masks = {column: _bind(name, _Case()) for column, name in _MASKED.items()}
    plan = TablePlan(TableName("public", "people"), names, masks)
    cut = copytext.Cut(block, names, list(masks))
    masked = plan.mask(cut.batch, escaped=True)
    shown = Shown("step", "us a row", title=f"blocks of {len(block) / 1e6:.1f} MB, {len(masks)} masks")
    for step, work in (
        ("cut", lambda: copytext.Cut(block, names, list(masks))),
        ("mask", lambda: plan.mask(cut.batch, escaped=True)),
        ("fill in", lambda: cut.filled(masked.columns)),
        ("all", lambda: plan.mask_block(block, names)),
    ):
        shown.add_row(step, f"{_microseconds(work) / rows:.3f}")
    return shown


def _row(n: int) -> bytes:
    """Row n as ``dataset.rows`` makes it, or nearly, in COPY text."""
    columns = (
        str(n), _mail(n), f"First{n % 4999}", f"Last{n % 9973}", _phone(n),
        f"Market Street {n % 900}", f"City {n % 800}", "DE", _words(n), f"{n}.50", "t",
        "2025-01-01 00:00:01+00",
    )  # fmt: skip
    return ("\t".join(columns) + "\n").encode()


def _microseconds(work: Callable[[], object]) -> float:
    """The least CPU time that ``work`` took in many runs."""
    work()
    least = float("inf")
    end = time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        began = time.process_time()
        work()
        least = min(least, time.process_time() - began)
    return least * 1e6


if __name__ == "__main__":
    main()
