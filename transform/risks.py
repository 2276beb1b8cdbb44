"""What rules that fit may still tell of people, and what they cost, judged on sampled rows; counts only, no value.

- *Frequencies*: a value that few rows have is known again by how rare it is, kept or masked, if the mask gives equal
  values equal ones.
- *Linkability*: kept columns that say little each may be a row's own together.
- *Personal*: a kept column whose values look like an address, a number or a name, or are running text, and keys and
  leaves of documents that stay and look so; values that look so and come out of a mask as they went in, by its
  condition, its expression, or the user's own code; or, where rows are of people, a kept column whose name says that
  it holds such.
- *Unknown leaves*: what documents hold that no path of their rule names.
- *Failing* and *impure*: a mask that does not take a value of production, a function of the user's own that is none.
- *Cost*: what the masks of a whole snapshot take, measured on the samples.

Frequencies, linkability and names are asked of tables only that have a masked column, or refer to one that has: rows of
others are about nobody. What is rare or alone in a sample need not be so in a large table, and what is not in the
sample is not judged.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from capture.model import (
    BadInput,
    Catalog,
    Column,
    ColumnName,
    ReplicaIdentity,
    ServerFailed,
    Table,
    counted,
    quote_identifier,
)
from transform.arraytext import delimiter_of, parse
from transform.binding import BlankPaddedMask
from transform.conditional import ConditionalMask
from transform.coverage import Decision, Finding, FindingKind, Severity
from transform.domains import root_of
from transform.masks.arrays import ArrayMask
from transform.masks.base import DATE, JSON, NUMBER, TEXT, AnyMask, DerivedMask, RowMask
from transform.masks.custom import Custom, check_purity
from transform.masks.documents import Documents, TextDocuments, is_document
from transform.masks.hstore import Hstore
from transform.plan import Examined, TablePlan
from transform.rules import KEEP, NULL
from transform.staying import Staying, staying, staying_pairs
from transform.suggest.category import Category, held_by
from transform.suggest.judge import IDENTIFYING, NAMING, TELLING
from transform.suggest.keys import profile_of, tell_of_somebody
from transform.suggest.names import by_name
from transform.suggest.profile import MOST, Profile
from transform.uniqueness import Uniques

# A value is rare if fewer rows have it.
LEAST: Final = 5
# The share of rows that may be alone on the kept columns.
ALONE: Final = 0.2
_ENOUGH_ROWS: Final = 50
_SENTENCES: Final = 0.5
_PATHS_SHOWN: Final = 6
_DEAREST_SHOWN: Final = 3
_TABLES_SHOWN: Final = 12
_TIMES_OF_DAY: Final = frozenset({"timestamp", "timestamptz", "time", "timetz"})
_TRIED_FOR_PURITY: Final = 100
# What classifies by its share alone, and says something of a person.
_TELLING: Final = frozenset({Category.PHONE, Category.PERSONAL_NUMBER, Category.IP, Category.MAC})
# What these make of a value is for the rules' author to say; any other mask hides it by itself.
_OF_THE_USER: Final = frozenset({"custom", "text.regex"})
# By chance a mask gives so many names, and no more, that were there before.
_BY_CHANCE: Final = 0.05
_NAMES: Final = (Category.FULL_NAME, Category.FIRST_NAME, Category.LAST_NAME)
# What a name is believed to say of a column of numbers, and what says it though the values are few.
_IN_NUMBERS: Final = TELLING | {Category.PHONE, Category.ACCOUNT, Category.PERSONAL_NUMBER, Category.BIRTH}
_IN_FEW: Final = TELLING | {Category.BIRTH}
# In bytes: what is shorter stays in its row, and is sent.
_SENT_ALWAYS: Final = 2000
_WITH_TEXT: Final = TEXT | JSON | {"hstore", "xml"}
# What becomes of leaves that no path names, in words.
_UNNAMED: Final = {"scramble": "scrambled", KEEP: "copied as they are", "redact": "redacted", NULL: "NULL in the copy"}

_Codes: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Measured:
    """What a column's mask takes: seconds for all rows of its table, on one processor, and for a value."""

    column: ColumnName
    mask: str
    seconds: float
    for_one: float


class Risks:
    """Judges one table after the other. The masks are those of ``examined``, under its key that everybody knows."""

    def __init__(self, examined: Examined, catalog: Catalog) -> None:
        self._catalog = catalog
        self._plans = examined.plan.tables
        self._decisions = examined.decisions
        self._uniques = Uniques(catalog)
        self._measured: list[_Measured] = []
        self._rows = 0
        self._told_by_time: list[str] = []
        masked = {table for table, plan in self._plans.items() if plan.masks}
        # Countries, and what else refers to countries, say nothing of the people who live there.
        self._about_people = masked | {
            root_of(catalog, key.table)
            for key in catalog.foreign_keys
            if root_of(catalog, key.referenced_table) in masked
        }
        self._about_people |= {
            column.table
            for column, decision in examined.decisions.items()
            if decision.domain.name not in map(str, decision.domain.columns)  # what a declared domain joins
            and any(other.table in masked for other in decision.domain.columns)
        }

    def judge(self, table: Table, rows: pa.RecordBatch) -> Iterator[Finding]:
        """What a sample of a table's rows shows: a batch of all its copied columns, text format, not escaped."""
        plan = self._plans.get(table.name)
        if plan is None or plan.rows == "none" or not rows.num_rows:
            return
        self._rows += self._estimated_rows(table)
        masked = rows.to_pydict()
        yield from self._mask_all(table, plan, rows, masked)
        for name in plan.columns:
            decision = self._decisions[ColumnName(table.root or table.name, name)]
            yield from self._judge_column(decision, plan, rows, masked[name])
        if table.name in self._about_people:
            yield from self._linkable(plan, rows)
        yield from self._unsent(table, plan, rows)

    def _unsent(self, table: Table, plan: TablePlan, rows: pa.RecordBatch) -> Iterator[Finding]:
        """Masks that read what an update may not send; see ``transform.changes``."""
        parts = [each for each in self._catalog.tables.values() if table.name in (each.name, each.root)]
        if not plan.readers or all(part.kind == "p" or part.replica_identity is ReplicaIdentity.FULL for part in parts):
            return
        sizes = {name: pc.max(pc.binary_length(rows.column(name))).as_py() or 0 for name in plan.columns}
        large = {name for name, size in sizes.items() if size > _SENT_ALWAYS}
        for name, read in plan.readers.items():
            if concerned := [each for each in dict.fromkeys((*read, name)) if each in large]:
                decision = self._decisions[ColumnName(table.root or table.name, name)]
                message = (
                    f"its mask reads the row, and {', '.join(map(quote_identifier, concerned))} may be large: an "
                    "update that leaves a large value as it is does not send it, and a stream ends there."
                )
                hint = (
                    "If rows are updated, have the DBA give the table REPLICA IDENTITY FULL, unless a column is "
                    "generated, or choose a mask that reads nothing but the value."
                )
                yield Finding(Severity.NOTE, FindingKind.UNSENT, str(decision.column), message, hint, decision.at)

    def _judge_column(
        self, decision: Decision, plan: TablePlan, rows: pa.RecordBatch, masked: Sequence[bytes | None] | None
    ) -> Iterator[Finding]:
        name = decision.column.column
        mask = plan.masks.get(name)
        values: list[bytes] = rows.column(name).drop_null().to_pylist()
        if mask is None:
            is_of_people = decision.column.table in self._about_people
            yield from _personal(decision, Profile.of(values), is_of_people=is_of_people)
        else:
            for part, its_values in _parts(mask, name, rows):
                yield from _inside(decision, part, its_values)
            if masked is not None and (decision.rule.when is not None or decision.rule.mask in _OF_THE_USER):
                yield from _passing(decision, rows.column(name).to_pylist(), masked)
        stands_alone = len(decision.domain.columns) == 1 and decision.column not in self._uniques
        if masked is not None and stands_alone and decision.column.table in self._about_people:
            yield from _frequencies(decision, Profile.of(values), masked)

    # --------------------------------------------------------------------------------------------- masking

    def _mask_all(
        self, table: Table, plan: TablePlan, rows: pa.RecordBatch, masked: dict[str, list[bytes | None] | None]
    ) -> Iterator[Finding]:
        """Mask the sample column by column, into ``masked``: None for a column whose mask failed. It is timed."""
        originals = dict(zip(rows.schema.names, rows.columns, strict=True))
        found = dict(originals)
        # What is made from masked columns comes last.
        for name, mask in sorted(plan.masks.items(), key=lambda item: isinstance(item[1], DerivedMask)):
            decision = self._decisions[ColumnName(table.root or table.name, name)]
            try:
                _apply(mask, originals[name], originals, found)
                began = time.perf_counter()
                out = _apply(mask, originals[name], originals, found)
                for_one = (time.perf_counter() - began) / rows.num_rows
            except ServerFailed as error:
                message = f"the mask {decision.rule.mask} did not take a sampled value, and would stop a copy: "
                masked[name] = None
                yield _risk(FindingKind.FAILING, decision, message + error.message, error.hint)
                continue
            masked[name] = out.to_pylist()
            found[name] = out
            seconds = for_one * self._estimated_rows(table)
            self._measured.append(_Measured(decision.column, decision.rule.mask, seconds, for_one))

    def _estimated_rows(self, table: Table) -> int:
        members = [other for other in self._catalog.tables.values() if table.name in (other.name, other.root)]
        return sum(other.estimated_rows for other in members if other.kind == "r")

    def of_all(self, workers: int) -> Iterator[Finding]:
        """What there is to say of all tables that were judged together; a snapshot would be masked by so many
        workers."""
        if self._told_by_time:
            listed = ", ".join(self._told_by_time[:_TABLES_SHOWN])
            more = len(self._told_by_time) - _TABLES_SHOWN
            message = f"more than {100 * ALONE:.0f}% of the sampled rows are told apart by a kept time of day: {listed}"
            message += f", and in {counted(more, 'more table')}." if more > 0 else "."
            hint = "Who knows when something happened finds the row. Mask such times: date.truncate, date.shift."
            yield Finding(Severity.RISK, FindingKind.LINKABLE, self._catalog.database, message, hint)
        yield self._cost(workers)

    def _cost(self, workers: int) -> Finding:
        dearest = sorted(self._measured, key=lambda one: one.seconds, reverse=True)[:_DEAREST_SHOWN]
        listed = ", ".join(f"{one.column} ({one.mask}, {one.for_one * 1e6:.1f} us a value)" for one in dearest)
        seconds = sum(one.seconds for one in self._measured) / workers
        message = (
            f"estimate: masking a snapshot of about {counted(self._rows, 'row')} takes about {_lasting(seconds)} of "
            f"{counted(workers, 'worker')}, as fast as this machine masked the samples"
        )
        message += f"; most of it {listed}." if dearest else "."
        return Finding(Severity.NOTE, FindingKind.COST, self._catalog.database, message)

    # ----------------------------------------------------------------------------------------- linkability

    def _linkable(self, plan: TablePlan, rows: pa.RecordBatch) -> Iterator[Finding]:
        root = self._catalog.tables[plan.table].root or plan.table
        kept = [
            name
            for name in plan.columns
            if name not in plan.masks
            and (column := ColumnName(root, name)) not in self._uniques
            and len(self._decisions[column].domain.columns) == 1
        ]
        if rows.num_rows < _ENOUGH_ROWS or not kept:
            return
        columns = {name: _codes(rows.column(name)) for name in kept}
        limit = ALONE * rows.num_rows
        # Of nearly every table a time of day tells the rows apart, which says little of it; what does so beside, much.
        others = {
            name: codes
            for name, codes in columns.items()
            if self._decisions[ColumnName(root, name)].shape.base_type not in _TIMES_OF_DAY
        }
        alone = _alone_by(others, rows.num_rows)
        if alone <= limit:
            if _alone_by(columns, rows.num_rows) > limit:
                chosen = _fewest(columns, limit)
                self._told_by_time.append(f"{plan.table} ({', '.join(map(quote_identifier, chosen))})")
            return
        chosen = _fewest(others, limit)
        decision = self._decisions[ColumnName(root, chosen[0])]
        share = 100 * alone / rows.num_rows
        listed = ", ".join(map(quote_identifier, chosen))
        enough = f"{listed} {'tells' if len(chosen) == 1 else 'tell'} more than {100 * ALONE:.0f}% apart already"
        alike = f"{share:.0f}% of {counted(rows.num_rows, 'sampled row')}"
        message = f"{alike} are the only ones with what they have in the kept columns; {enough}."
        hint = (
            "Such a row may be found again by whoever knows a little of it. Mask what tells rows apart, such as by a "
            "band, date.truncate or number.noise."
        )
        yield Finding(Severity.RISK, FindingKind.LINKABLE, str(plan.table), message, hint, decision.at)


def _codes(values: pa.BinaryArray) -> _Codes:
    """The same number for equal values, NULL among them."""
    encoded = pc.dictionary_encode(values, null_encoding="encode")
    codes: _Codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def _joined(first: _Codes, second: _Codes) -> _Codes:
    pairs = first * (int(second.max()) + 1) + second
    _, codes = np.unique(pairs, return_inverse=True)
    numbers: _Codes = codes.astype(np.int64)
    return numbers


def _alone_by(columns: Mapping[str, _Codes], count: int) -> int:
    """How many of so many rows are the only ones with what they have in these columns."""
    every = np.zeros(count, dtype=np.int64)
    for codes in columns.values():
        every = _joined(every, codes)
    return _alone(every)


def _alone(codes: _Codes) -> int:
    _, counts = np.unique(codes, return_counts=True)
    return int(np.count_nonzero(counts == 1))


def _fewest(columns: Mapping[str, _Codes], limit: float) -> list[str]:
    """Columns that leave more rows alone than ``limit``: always the one that adds most, so seldom more than needed."""
    chosen: list[str] = []
    codes = np.zeros(len(next(iter(columns.values()))), dtype=np.int64)
    while _alone(codes) <= limit:
        rest = {name: _joined(codes, own) for name, own in columns.items() if name not in chosen}
        # Before any row is alone, what tells most rows apart leads there.
        best = max(rest, key=lambda name: (_alone(rest[name]), int(rest[name].max())))
        chosen.append(best)
        codes = rest[best]
    return chosen


# ------------------------------------------------------------------------------------------------------ columns


def _risk(kind: FindingKind, decision: Decision, message: str, hint: str = "") -> Finding:
    return Finding(Severity.RISK, kind, str(decision.column), message, hint, decision.at)


def _frequencies(decision: Decision, profile: Profile, masked: Sequence[bytes | None]) -> Iterator[Finding]:
    times = Counter(value for value in masked if value is not None)
    rare = sum(number < LEAST for number in times.values())
    # A mask that gives equal values different ones, or many the same, hides how often they come.
    if not profile.is_few or not rare or len(times) < 2 or len(times) > profile.distinct:
        return
    told = f"{rare} of {len(times)} values come fewer than {LEAST} times in {counted(len(masked), 'sampled row')}"
    name = decision.rule.mask
    how = "it is kept" if name == "keep" else f"the mask {name} leaves what is rare as rare as it was"
    message = f"{told}, and {how}: whoever knows of one knows the row."
    yield _risk(
        FindingKind.FREQUENCY, decision, message, "Use null, redact, or a mask that joins values, such as a band."
    )


def _personal(decision: Decision, profile: Profile, *, is_of_people: bool) -> Iterator[Finding]:
    if not profile.total:
        return
    shape = decision.shape
    has_text = shape.kind == "b" and shape.base_type in _WITH_TEXT
    what = _looks_like(profile) if has_text else ""
    # Of columns that are masked alike, the one that the others refer to says what they all hold.
    is_first = decision.domain.name == str(decision.column)
    named = by_name(shape.name, held_by(shape.base_type)) if is_first else None
    hint = "Use a mask for it, or keep it knowingly."
    if what:
        message = f"it is kept, and {what} of {counted(profile.total, 'sampled value')}."
    elif is_of_people and named is not None and _may_hold(shape, named) and (named in _IN_FEW or not profile.is_few):
        message = f"it is kept, and by its name it holds personal data ({named})."
    elif has_text and not profile.is_few and profile.sentences > _SENTENCES * profile.total and shape.base_type in TEXT:
        are = "is" if profile.sentences == 1 else "are"
        sampled = counted(profile.total, "sampled value")
        message = f"it is kept, and {profile.sentences:,} of {sampled} {are} running text."
        hint = "Free text may name people: text.lorem, or text.scramble."
    else:
        return
    yield _risk(FindingKind.PERSONAL, decision, message, hint)


def _passing(decision: Decision, values: Sequence[bytes | None], masked: Sequence[bytes | None]) -> Iterator[Finding]:
    """What comes out of a mask as it went in, and looks like personal data."""
    shape = decision.shape
    present = [(value, out) for value, out in zip(values, masked, strict=True) if value is not None]
    profile = Profile.of([value for value, out in present if value == out])
    if not profile.total or shape.kind != "b" or shape.base_type not in _WITH_TEXT:
        return
    what = _signs(profile)
    if not what and profile.total > _BY_CHANCE * len(present):
        what = _looks_like(profile)
        if not what and profile.sentences > _SENTENCES * profile.total:
            what = f"there is running text in {profile.sentences:,}"
    if what:
        alike = "comes out as it went in" if profile.total == 1 else "come out as they went in"
        message = f"{profile.total:,} of {counted(len(present), 'sampled value')} {alike}, and {what} of these."
        yield _risk(FindingKind.PERSONAL, decision, message, "Mask them too, or keep them knowingly.")


def _may_hold(shape: Column, named: Category) -> bool:
    """Whether a column of that type may hold what its name says: a ``login`` that is a time is no user's name."""
    base = shape.base_type
    if shape.kind == "e":
        return named in TELLING
    if base in NUMBER:
        return named in _IN_NUMBERS
    if base in DATE:
        return named is Category.BIRTH
    return named is Category.SENSITIVE if base == "bool" else base in TEXT and named in IDENTIFYING


def _looks_like(profile: Profile) -> str:
    """What the values look like, and how many; '' for nothing that says something of a person."""
    signs = _signs(profile)
    if signs:
        return signs
    for category in _NAMES:
        share = profile.names[category]
        if share >= MOST:
            return f"there are signs of personal data ({category}) in {round(share * profile.total):,}"
    if profile.naming >= (NAMING if profile.sentences > _SENTENCES * profile.total else MOST):
        return f"somebody's full name stands in {round(profile.naming * profile.total):,}"
    return ""


def _signs(profile: Profile) -> str:
    """The same of their form alone, without dictionaries."""
    for hits in profile.hits:
        detector = hits.detector
        most = hits.count >= MOST * profile.total and detector.category in _TELLING
        if detector.category is not Category.CODE and not hits.by_chance and (detector.flags or most):
            inside = " or hold one inside" if hits.inside else ""
            return f"there are signs of personal data ({detector.what}){inside} in {hits.count:,}"
    return ""


def _parts(mask: AnyMask, name: str, rows: pa.RecordBatch) -> Iterator[tuple[AnyMask, list[bytes]]]:
    """The masks that a column of the rows has, by its condition if there is one, each with its values."""
    if not isinstance(mask, ConditionalMask):
        yield mask, rows.column(name).drop_null().to_pylist()
        return
    for part, at in mask.divided(rows.num_rows, dict(zip(rows.schema.names, rows.columns, strict=True))):
        if part is not None:
            yield part, rows.column(name).take(pa.array(at)).drop_null().to_pylist()


def _inside(decision: Decision, mask: AnyMask, values: list[bytes]) -> Iterator[Finding]:
    """What there is to say of documents and of functions of the user's own."""
    inner = mask
    if isinstance(inner, ArrayMask):
        delimiter = delimiter_of(decision.shape.base_type)
        values = [each for value in values for each in parse(value, delimiter)[1] if each is not None]
        inner = inner.element
    if isinstance(inner, BlankPaddedMask):
        values = [value.rstrip(b" ") for value in values]
        inner = inner.inner
    if isinstance(inner, TextDocuments):
        values = [value for value in values if is_document(value)]
        inner = inner.documents
    if isinstance(inner, Documents):
        found = list(staying(inner, values))
        yield from _leaves(decision, Counter({one.path: one.unnamed for one in found if one.unnamed}))
        yield from _kept(decision, found)
    elif isinstance(inner, Hstore):
        yield from _kept(decision, staying_pairs(inner, values))
    elif isinstance(inner, Custom):
        try:
            check_purity(inner, values[:_TRIED_FOR_PURITY])
        except BadInput as error:
            message = f"{error.message.rstrip('.')}, for values of production."
            where = str(decision.column)
            yield Finding(Severity.ERROR, FindingKind.IMPURE, where, message, error.hint, decision.at)
        except ServerFailed:
            return  # told when the sample was masked


def _leaves(decision: Decision, counts: Counter[str]) -> Iterator[Finding]:
    if counts:
        listed = ", ".join(f"{path} ({number:,})" for path, number in counts.most_common(_PATHS_SHOWN))
        more = f" and {counted(len(counts) - _PATHS_SHOWN, 'other path')}" if len(counts) > _PATHS_SHOWN else ""
        unnamed = decision.rule.params.get("unnamed") or "scramble"
        message = (
            f"no path of the rule names {counted(counts.total(), 'leaf', 'leaves')} of the sampled documents, so "
            f"{'it is' if counts.total() == 1 else 'they are'} "
            f"{_UNNAMED[unnamed]}: {listed}{more}."
        )
        kept = unnamed == KEEP
        hint = "Name what may pass, and leave unnamed: keep away." if kept else ""
        severity = Severity.RISK if kept else Severity.NOTE
        yield Finding(severity, FindingKind.UNKNOWN_LEAVES, str(decision.column), message, hint, decision.at)


def _kept(decision: Decision, found: Iterable[Staying]) -> Iterator[Finding]:
    """Keys that stay and are data, and leaves that are kept and look like it."""
    for one in found:
        if tell_of_somebody(one.keys):
            profile = profile_of(one.keys)
            what = _looks_like(profile) or "most are like names of people or towns,"
            at = f" of {one.path}" if decision.rule.mask != "hstore" else ""
            message = f"keys{at} stay as they are, and {what} of {profile.total:,} in the sample."
            hint = f"Under keys, give {one.path} a mask, or keep." if at else "Mask them: key_mask."
            yield _risk(FindingKind.PERSONAL, decision, message, hint)
        profile = Profile.of(one.texts)
        what = _looks_like(profile)
        if what:
            message = f"{one.path} is kept, and {what} of {profile.total:,} in the sample."
            yield _risk(FindingKind.PERSONAL, decision, message, "Use a mask for it, or keep it knowingly.")


def _apply(
    mask: AnyMask,
    values: pa.BinaryArray,
    originals: Mapping[str, pa.BinaryArray],
    masked: Mapping[str, pa.BinaryArray],
) -> pa.BinaryArray:
    match mask:
        case DerivedMask():
            return mask.derive(values, {name: masked[name] for name in mask.sources})
        case RowMask():
            return mask.apply_rows(values, {name: originals[name] for name in mask.needs})
        case _:
            return mask.apply(values)


def _lasting(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
