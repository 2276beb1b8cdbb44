"""``python -m bench.suggest``: how well ``rules suggest`` judges columns whose meaning is known.

A column is *caught* when it is masked or left to a person (todo). Recall counts caught columns among the personal ones,
precision personal columns among the masked ones. ``heldout`` is a set that the judgement was not tuned on. A label of
company counts as neither: it may be a person or not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from bench import columns
from capture.model import ColumnName
from transform.rules import KEEP, TODO, load_rules
from transform.suggest import suggest

_PLAIN: Final = "-"
_EITHER: Final = frozenset({"company"})
# Masks that show that a category was recognised; any other mask still hides the value.
_MEANT: Final = {
    "email": ("email",),
    "name": ("name", "name.first", "name.last", "name.full", "json", "row_image"),
    "phone": ("phone", "json"),
    "address": ("address",),
    "card": ("financial.card", "text.partial", "redact", "text.lorem"),
    "iban": ("financial.iban",),
    "national": ("id.national", "id.plate", "id.int", "id.pattern", "redact", "id.uuid"),
    "secret": ("id.secret", "redact", "id.uuid", "null"),
    "birth": ("date.shift", "date.age_band", "number.noise", "number.within"),
    "network": ("network", "null", "redact"),
    "free": ("text.lorem", "redact"),
    "geo": ("address", "number.noise"),
    "username": ("username", "id.uuid"),
    "money": ("number.noise", "financial.amount"),
}


@dataclass(slots=True)
class Score:
    """What was counted over one set."""

    personal: int = 0
    plain: int = 0
    missed: list[ColumnName] = field(default_factory=list)
    asked: list[ColumnName] = field(default_factory=list)
    needless: list[ColumnName] = field(default_factory=list)
    masked: int = 0
    meant: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def recall(self) -> float:
        """The share of personal columns that are caught."""
        return 1 - len(self.missed) / self.personal

    @property
    def precision(self) -> float:
        """The share of personal columns among the masked ones."""
        return 1 - len(self.needless) / max(self.masked, 1)

    @property
    def todo(self) -> float:
        """The share of all columns that is left to a person."""
        return len(self.asked) / (self.personal + self.plain)


def measure(name: str) -> tuple[Score, dict[ColumnName, str]]:
    """The score of one set, and the mask of each column."""
    known = columns.read(name)
    began = time.perf_counter()
    text = suggest(known.catalog, known.samples, None)
    score = Score(seconds=time.perf_counter() - began)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rules.yaml"
        path.write_text(text, encoding="utf-8")
        rules = load_rules(path)
    masks: dict[ColumnName, str] = {}
    for column, label in known.labels.items():
        rule = rules.rule(column)
        declared = rules.domains_of(column)
        mask = rule.mask if rule is not None else rules.domains[declared[0]].mask if declared else TODO
        if mask == "json" and rule is not None and set(rule.params["paths"].values()) == {KEEP}:
            # Every leaf stays; what may come one day is all that the mask would hide.
            mask = KEEP
        masks[column] = mask
        if label not in _EITHER:
            _count(score, column, label, mask)
    return score, masks


def _count(score: Score, column: ColumnName, label: str, mask: str) -> None:
    if mask == TODO:
        score.asked.append(column)
    if label == _PLAIN:
        score.plain += 1
        if mask not in {KEEP, TODO}:
            score.masked += 1
            score.needless.append(column)
        return
    score.personal += 1
    if mask == KEEP:
        score.missed.append(column)
    elif mask != TODO:
        score.masked += 1
    if label in _MEANT:
        score.known[label] += 1
        score.meant[label] += mask in _MEANT[label] or mask.split(".", maxsplit=1)[0] in _MEANT[label]


def main() -> int:
    """Print the scores; the exit code tells whether the goals hold for the set that was tuned on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="name the columns that were judged wrongly or left open")
    arguments = parser.parse_args()
    out = Console(width=140, highlight=False)
    table = Table("set", "columns", "personal", "recall", "precision", "todo", "mask as meant", "seconds")
    met = True
    for name in ("labelled", "heldout", "abroad"):
        score, masks = measure(name)
        meant = sum(score.meant.values()) / sum(score.known.values())
        shares = [f"{100 * share:.1f} %" for share in (score.recall, score.precision, score.todo, meant)]
        total = score.personal + score.plain
        table.add_row(name, str(total), str(score.personal), *shares, f"{score.seconds:.1f}")
        met = met and (name != "labelled" or (score.recall >= 0.99 and score.precision >= 0.9 and score.todo <= 0.05))
        if arguments.list:
            for title, listed in (("kept", score.missed), ("todo", score.asked), ("needless", score.needless)):
                out.print(f"{name}, {title}: {', '.join(f'{column} ({masks[column]})' for column in listed) or 'none'}")
            shown = (f"{label} {score.meant[label]}/{count}" for label, count in sorted(score.known.items()))
            out.print(f"{name}, mask as meant: {', '.join(shown)}\n")
    out.print(table)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
