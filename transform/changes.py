"""Masking the changes of one table in a window: both images, what an update did not send, and which rows are copied.

An update leaves out large values that it did not change (unchanged TOAST). A mask of the value alone does not mind:
the copy keeps what it has. A mask that reads the row would take the hole for NULL, or stay as it was though what it
reads has changed, and the copy would silently differ. So the hole is filled from the old image where that is FULL;
where it is not, nobody can know the value, and the change is refused. So it is with rows that are copied by a
condition: whether a row was among them is told by the row before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from capture.model import Changes, OldImage, Operation, ServerFailed, quote_identifier
from transform.plan import TablePlan
from transform.predicates import Predicate


class Unsent(ServerFailed):
    """A mask reads a value that the stream did not bring."""


def mask_changes(plan: TablePlan, changes: Changes) -> Changes:
    """The changes of the rows that are copied, with masked images. Raises ``Unsent``."""
    if plan.chosen is not None:
        changes = _choose(plan, plan.chosen, changes)
    if plan.readers and any(changes.patterns):
        changes = _filled(plan, changes)
    return replace(
        changes,
        new=plan.mask(changes.new, escaped=False),
        old=plan.mask(changes.old, escaped=False),
    )


def _choose(plan: TablePlan, chosen: Predicate, changes: Changes) -> Changes:
    """The changes as those see them who know the chosen rows only: a row that an update brings among them is inserted,
    one that leaves them is deleted."""
    full = changes.old_kinds == OldImage.FULL
    is_by_key = not full.any() and set(chosen.columns) <= set(changes.old.schema.names)
    if not is_by_key and not (full | (changes.operations == Operation.INSERT)).all():
        raise _unknown(plan)
    changes = _filled_where(changes, full & (changes.operations == Operation.UPDATE), range(changes.new.num_columns))
    has_new, has_old = changes.operations != Operation.DELETE, changes.old_kinds != OldImage.NONE
    is_in, was_in = np.zeros(len(changes), dtype=np.bool_), np.zeros(len(changes), dtype=np.bool_)
    is_in[has_new] = plan.is_chosen(changes.new, escaped=False)
    if has_old.any():
        was_in[has_old] = plan.is_chosen(changes.old, escaped=False)
    # Without an old image the key is what it was, and the condition reads nothing else.
    same = (changes.operations == Operation.UPDATE) & ~has_old
    was_in[same] = is_in[same]
    stays = is_in | was_in
    operations = np.full(len(changes), Operation.UPDATE, dtype=changes.operations.dtype)
    operations[is_in & ~was_in] = Operation.INSERT
    operations[was_in & ~is_in] = Operation.DELETE
    old_kinds = np.where(operations == Operation.INSERT, OldImage.NONE, changes.old_kinds).astype(np.uint8)
    patterns = changes.patterns if () in changes.patterns else (*changes.patterns, ())
    unchanged = np.where(operations == Operation.UPDATE, changes.unchanged, patterns.index(()))
    return Changes(
        order=changes.order[stays],
        operations=operations[stays],
        old_kinds=old_kinds[stays],
        unchanged=unchanged[stays],
        patterns=patterns,
        new=changes.new.filter(pa.array(is_in[has_new])),
        old=changes.old.filter(pa.array((stays & (old_kinds != OldImage.NONE))[has_old])),
    )


def _filled_where(changes: Changes, updates: npt.NDArray[np.bool_], columns: Iterable[int]) -> Changes:
    """The same changes, with the values that these updates did not send, of these columns, from their old images, which
    are FULL. What an update leaves alone it still leaves alone."""
    count = changes.new.num_rows
    new_at = np.cumsum(changes.operations != Operation.DELETE) - 1
    old_at = np.cumsum(changes.old_kinds != OldImage.NONE) - 1
    filled = list(changes.new.columns)
    for position in columns:
        codes = [code for code, pattern in enumerate(changes.patterns) if position in pattern]
        here = updates & np.isin(changes.unchanged, codes)
        if here.any():
            at = np.arange(count)
            at[new_at[here]] = count + old_at[here]
            name = changes.new.schema.names[position]
            both = pa.concat_arrays([changes.new.column(position), changes.old.column(name)])
            filled[position] = both.take(pa.array(at))
    return replace(changes, new=pa.RecordBatch.from_arrays(filled, schema=changes.new.schema))


def _filled(plan: TablePlan, changes: Changes) -> Changes:
    """The same changes, in which every value that a mask reads is there. A column with such a mask is set by every
    update that might have changed what it reads."""
    names: list[str] = changes.new.schema.names
    read = {name: {name, *others} for name, others in plan.readers.items()}
    full = changes.old_kinds == OldImage.FULL
    patterns, codes = list(changes.patterns), changes.unchanged.copy()
    for code in np.unique(changes.unchanged).tolist():
        unsent = {names[position] for position in changes.patterns[code]}
        concerned = [name for name, others in read.items() if others & unsent]
        here = changes.unchanged == code
        if concerned and (here & ~full).any():
            raise _unsent(plan, concerned[0], sorted(read[concerned[0]] & unsent))
        left = tuple(position for position in changes.patterns[code] if names[position] not in concerned)
        if left not in patterns:
            patterns.append(left)
        codes[here] = patterns.index(left)
    wanted = {name for names_read in read.values() for name in names_read}
    changes = _filled_where(changes, full, [place for place, name in enumerate(names) if name in wanted])
    return replace(changes, unchanged=codes, patterns=tuple(patterns))


def _unknown(plan: TablePlan) -> Unsent:
    return Unsent(
        f"a change of {plan.table} came without the row before it, and which rows of it are copied hangs on that.",
        hint=f"In production, if none of its columns is generated: ALTER TABLE {plan.table} REPLICA IDENTITY FULL; "
        "then clone again.",
    )


def _unsent(plan: TablePlan, name: str, unsent: Sequence[str]) -> Unsent:
    column = f"{plan.table}.{quote_identifier(name)}"
    return Unsent(
        f"an update of {plan.table} did not send {', '.join(map(quote_identifier, unsent))}, a large value that it did "
        f"not change, and the mask of {column} reads it.",
        hint=f"In production, if none of its columns is generated: ALTER TABLE {plan.table} REPLICA IDENTITY FULL; "
        "then clone again. Or choose a mask that reads nothing but the value.",
    )
