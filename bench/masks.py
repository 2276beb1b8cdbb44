"""``python -m bench.masks [--rows N] [NAME ...]``: what each mask costs a value, and each step of a snapshot a row.

CPU time of this process, the least of many runs, so that other work on the machine weighs little. A mask is measured
over a block's worth of values, where its cost per value shows, and over one and twenty, where that of a call does.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Sequence
from typing import Final

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from capture.model import Column, TableName
from transform import copytext
from transform.keyring import KeyRing
from transform.masks.base import MASKS, Build, Mask, RowMask
from transform.plan import TablePlan

_ROWS: Final = 5_000
_SECONDS: Final = 0.3
_SMALL: Final = (1, 20)
_KEYRING: Final = KeyRing(bytes(32), "bench")

# A value of row n, for the masks whose own example tells too little of what they are used on.
_VALUES: Final[dict[str, Callable[[int], str]]] = {
    "email": lambda n: f"person.{n}@mail{n % 50}.example.com",
    "phone": lambda n: f"+49 30 {n * 7919 % 10_000_000:07d}",
    "text.lorem": lambda n: f"{n:032x} asked for {n + 1:032x}",
    "json": lambda n: f'{{"tier": "gold", "visits": {n}}}',
    "id.uuid": lambda n: f"{n:08x}-0b7d-4c2a-9e51-{n:012x}",
    "financial.card": lambda n: f"4111 1111 {n:08d}",
    "financial.iban": lambda n: f"GB82 WEST 1234 56{n:08d}",
    "date.shift": lambda n: f"19{n % 100:02d}-0{1 + n % 9}-1{n % 10}",
    "number.noise": lambda n: f"{n}.50",
    "id.int": str,
}
_PARAMS: Final = {"date.shift": {"days": 30}, "constant": {"value": "x"}, "partial": {"keep_last": 4}}
_TYPES: Final = {"date": "date", "number": "numeric", "json": "json"}

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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.masks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="masks to measure; without, all that text can show")
    parser.add_argument("--rows", type=int, default=_ROWS, help=f"values in a batch ({_ROWS})")
    arguments = parser.parse_args()
    # As in a worker.
    pa.set_cpu_count(1)
    gc.freeze()
    out = Console(highlight=False)
    out.print(_masks(arguments.names or sorted(MASKS), arguments.rows))
    if not arguments.names:
        out.print(_steps(arguments.rows))


def _masks(names: Sequence[str], rows: int) -> Table:
    shown = Table("mask", "us a value", *(f"us a call of {few}" for few in _SMALL))
    for name in names:
        mask = _build(name)
        if mask is None:
            continue
        write = _VALUES.get(name, _plain)
        values = pa.array([write(n).encode() for n in range(rows)], pa.binary())
        calls = [_least(mask, values[:few]) for few in _SMALL]
        shown.add_row(name, f"{_least(mask, values) / rows:.3f}", *(f"{call:.0f}" for call in calls))
    return shown


def _plain(n: int) -> str:
    return f"Value {n % 4999}"


def _build(name: str) -> Mask | None:
    """The mask for a column that it may stand in; None if it needs more than a value."""
    kind = MASKS[name]
    base_type = _TYPES.get(name.partition(".")[0], "text")
    if name == "keep" or not kind.accepts(base_type):
        return None
    column = Column("c", 1, 0, -1, base_type, base_type)
    try:
        mask = kind.build(kind.params.model_validate(_PARAMS.get(name, {})), Build(_KEYRING.prf(name), column))
    except (ValueError, AssertionError):  # parameters that only a plan can give
        return None
    return None if isinstance(mask, RowMask) else mask


def _least(mask: Mask, values: pa.BinaryArray) -> float:
    return _microseconds(lambda: mask.apply(values))


def _steps(rows: int) -> Table:
    """The way of a block of ``dataset.TABLE`` through a worker, save for the servers' part."""
    names = _COLUMNS
    block = b"".join(map(_row, range(rows)))
    masks = {column: mask for column, name in _MASKED.items() if (mask := _build(name)) is not None}
    plan = TablePlan(TableName("public", "people"), names, masks)
    cut = copytext.Cut(block, names, list(masks))
    masked = plan.mask(cut.batch, escaped=True)
    shown = Table("step", "us a row", title=f"blocks of {len(block) / 1e6:.1f} MB, {len(masks)} masks")
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
        str(n), _VALUES["email"](n), f"First{n % 4999}", f"Last{n % 9973}", _VALUES["phone"](n),
        f"Market Street {n % 900}", f"City {n % 800}", "DE", _VALUES["text.lorem"](n), f"{n}.50", "t",
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
