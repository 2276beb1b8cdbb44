"""Keeping the copy's sequences ahead of its rows.

The stream carries rows, not sequences. A column that takes its values from a sequence tells how far it went: each
group of transactions that brings a higher value moves the sequence in the same pipeline. Where the column is masked
by a permutation of the lower half of its type, the sequence starts at the upper half and needs no more.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from capture.model import ColumnName, Sequence, TableName
from sink.target import Connection, fetch


class SequenceMarks:
    """The highest value that came for each sequence, from any column that it feeds, in its direction."""

    def __init__(
        self, sequences: tuple[Sequence, ...], roots: dict[TableName, TableName], kept: set[ColumnName]
    ) -> None:
        """``roots`` maps partitions to their root; ``kept`` are the columns that no mask changes."""
        self._fed: dict[TableName, set[tuple[Sequence, str]]] = {}
        by_root: dict[TableName, list[TableName]] = {}
        for table, root in roots.items():
            by_root.setdefault(root, []).append(table)
        for sequence in sequences:
            for fed in sequence.feeds:
                if fed not in kept:
                    continue
                for table in (fed.table, *by_root.get(fed.table, ())):
                    self._fed.setdefault(table, set()).add((sequence, fed.column))
        self._high: dict[Sequence, int] = {}
        self._moved: set[Sequence] = set()

    def observe(self, table: TableName, images: pa.RecordBatch) -> None:
        """Look at the masked new images of a table."""
        for sequence, column in self._fed.get(table, ()):
            values = images.column(column).cast(pa.string())
            numbers = values.filter(pc.match_substring_regex(values, r"^-?\d{1,19}$")).cast(pa.decimal128(19, 0))
            bounds = pc.min_max(numbers)
            value = bounds["max" if sequence.increment > 0 else "min"].as_py()
            if value is None or not sequence.minimum <= value <= sequence.maximum:
                continue
            value = int(value)
            high = self._high.get(sequence)
            if high is None or (value > high if sequence.increment > 0 else value < high):
                self._high[sequence] = value
                self._moved.add(sequence)

    def statements(self) -> list[tuple[str, tuple[bytes, ...]]]:
        """What moves the sequences that fell behind since the last call; never backwards."""
        moved, self._moved = self._moved, set()
        return [
            (_move(sequence.name, upwards=sequence.increment > 0), (b"%d" % self._high[sequence],))
            for sequence in sorted(moved, key=lambda each: each.name)
        ]


async def put(connection: Connection, sequence: Sequence, value: int) -> None:
    """Have a sequence stand at ``value``, the last that is taken, wherever it is. Raises ``ServerFailed``."""
    await fetch(connection, "SELECT setval(%s::regclass, %s)", (str(sequence.name), value))


async def move(connection: Connection, sequence: Sequence, value: int) -> None:
    """Move a sequence on to ``value``, unless it is there or further already. Raises ``ServerFailed``."""
    statement = _move(sequence.name, upwards=sequence.increment > 0).replace("%", "%%")
    await fetch(connection, statement.replace("$1", "%s"), (value,) * statement.count("$1"))


def _move(name: TableName, *, upwards: bool) -> str:
    """Parameter: the highest value that is taken."""
    quoted = str(name).replace("'", "''")
    return (
        f"SELECT setval('{quoted}', $1::bigint) FROM {name} WHERE last_value {'<' if upwards else '>'} $1::bigint"
        " OR (last_value = $1::bigint AND NOT is_called)"
    )
