"""Keeping the copy's sequences ahead of its rows.

The stream carries rows, not sequences. A column that takes its values from a sequence tells how far it went: each
group of transactions that brings a higher value moves the sequence in the same pipeline. Where the column is masked
by a permutation of the lower half of its type, the sequence starts at the upper half and needs no more.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from capture.model import ColumnName, Sequence, TableName


@dataclass(slots=True)
class _Mark:
    sequence: Sequence
    column: str
    high: int | None = None


class SequenceMarks:
    """The highest value that came for each fed column, in the direction of its sequence."""

    def __init__(
        self, sequences: tuple[Sequence, ...], roots: dict[TableName, TableName], kept: set[ColumnName]
    ) -> None:
        """``roots`` maps partitions to their root; ``kept`` are the columns that no mask changes."""
        self._marks: dict[TableName, list[_Mark]] = {}
        by_root: dict[TableName, list[TableName]] = {}
        for table, root in roots.items():
            by_root.setdefault(root, []).append(table)
        for sequence in sequences:
            for fed in sequence.feeds:
                if fed not in kept:
                    continue
                mark = _Mark(sequence, fed.column)
                for table in (fed.table, *by_root.get(fed.table, ())):
                    self._marks.setdefault(table, []).append(mark)
        self._moved: dict[TableName, _Mark] = {}

    def observe(self, table: TableName, images: pa.RecordBatch) -> None:
        """Look at the masked new images of a table."""
        for mark in self._marks.get(table, ()):
            values = images.column(mark.column).cast(pa.string())
            numbers = values.filter(pc.match_substring_regex(values, r"^-?\d{1,18}$")).cast(pa.int64())
            bounds = pc.min_max(numbers)
            value = bounds["max" if mark.sequence.increment > 0 else "min"].as_py()
            if value is None or not mark.sequence.minimum <= value <= mark.sequence.maximum:
                continue
            ahead = mark.high is None or (value > mark.high if mark.sequence.increment > 0 else value < mark.high)
            if ahead:
                mark.high = value
                self._moved[mark.sequence.name] = mark

    def statements(self) -> list[tuple[str, tuple[bytes, ...]]]:
        """What moves the sequences that fell behind since the last call; never backwards."""
        moved, self._moved = self._moved, {}
        return [
            (_move(name, upwards=mark.sequence.increment > 0), (b"%d" % (mark.high or 0),))
            for name, mark in moved.items()
        ]


def _move(name: TableName, *, upwards: bool) -> str:
    """Parameter: the highest value that is taken."""
    quoted = str(name).replace("'", "''")
    return (
        f"SELECT setval('{quoted}', $1::bigint) FROM {name} WHERE last_value {'<' if upwards else '>'} $1::bigint"
        " OR (last_value = $1::bigint AND NOT is_called)"
    )
