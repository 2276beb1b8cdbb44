"""What is told: a table for a terminal, Markdown for docs/performance.md, JSON for programs.

A benchmark has one or more figures. Each is measured for tezcat and for its reference in every round; the ratio is
that of the two medians. A goal is a bound of the ratio, or of tezcat's own value.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from rich.table import Table

from bench.measure import Round, Sample, Spread
from bench.servers import VERSION

Unit = Literal["s", "rows/s", "ms", "MB", "us/row"]
_DIGITS: Final[dict[Unit, int]] = {"s": 2, "rows/s": 0, "ms": 1, "MB": 0, "us/row": 2}
_HEADINGS: Final = (
    "benchmark", "", "min", "median", "max", "unit", "ratio", "goal", "CPU s", "servers' CPU s", "peak MB",
)  # fmt: skip
_TEXT_COLUMNS: Final = frozenset({"benchmark", "", "unit"})
NOTE: Final = (
    "CPU: seconds of all processes of the program; the servers' apart; medians. "
    "Peak: resident memory of all processes of the program together, shared pages once, in the worst round."
)


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound: ``of`` the ratio to the reference, or of tezcat's own median; reached ``at`` most or at least there."""

    of: Literal["ratio", "value"]
    at: Literal["most", "least"]
    bound: float

    def is_reached(self, ratio: float, value: float) -> bool:
        """Whether a figure with this ratio and this value of tezcat's is good enough."""
        held = ratio if self.of == "ratio" else value
        return held <= self.bound if self.at == "most" else held >= self.bound

    def __str__(self) -> str:
        return f"{'≤' if self.at == 'most' else '≥'} {self.bound:g}{'' if self.of == 'ratio' else ' itself'}"


@dataclass(frozen=True, slots=True)
class Figure:
    """What is read off a round: ``value`` takes the round and one of its two samples."""

    name: str
    unit: Unit
    value: Callable[[Round, Sample], float]
    goal: Goal | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """All rounds of one benchmark, with what is read off them and what it is compared with."""

    name: str
    reference: str
    figures: Sequence[Figure]
    rounds: Sequence[Round]

    def spread(self, figure: Figure, side: Literal["tezcat", "reference"]) -> Spread:
        """One side's values of a figure."""
        return Spread.of([figure.value(each, getattr(each, side)) for each in self.rounds])

    def ratio(self, figure: Figure) -> float:
        """tezcat's median by the reference's."""
        return self.spread(figure, "tezcat").median / self.spread(figure, "reference").median

    def is_reached(self, figure: Figure) -> bool | None:
        """Whether the goal is; None without one."""
        if figure.goal is None:
            return None
        return figure.goal.is_reached(self.ratio(figure), self.spread(figure, "tezcat").median)

    def line(self) -> str:
        """The figures in one line, for whoever measures again and again."""
        return f"{self.name}: " + "; ".join(
            f"{figure.name} {_number(self.spread(figure, 'tezcat').median, figure.unit)} {figure.unit}, "
            f"reference {_number(self.spread(figure, 'reference').median, figure.unit)}, "
            f"ratio {self.ratio(figure):.2f}" + (f" (goal {figure.goal})" if figure.goal else "")
            for figure in self.figures
        )

    def as_json(self) -> dict[str, Any]:
        """All of it, every round included."""
        return {
            "name": self.name,
            "reference": self.reference,
            "figures": [
                {
                    "name": figure.name,
                    "unit": figure.unit,
                    "tezcat": asdict(self.spread(figure, "tezcat")),
                    "reference": asdict(self.spread(figure, "reference")),
                    "ratio": self.ratio(figure),
                    "goal": asdict(figure.goal) if figure.goal else None,
                    "reached": self.is_reached(figure),
                }
                for figure in self.figures
            ],
            "rounds": [asdict(each) for each in self.rounds],
        }


def document(results: Sequence[Result]) -> dict[str, Any]:
    """The results with the machine that gave them."""
    machine = {"cpus": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}
    return {"machine": machine, "postgresql": VERSION, "benchmarks": [result.as_json() for result in results]}


def table(results: Sequence[Result]) -> Table:
    """For a terminal."""
    shown = Table(caption=NOTE)
    for heading in _HEADINGS:
        shown.add_column(heading, justify="left" if heading in _TEXT_COLUMNS else "right", no_wrap=True)
    for result in results:
        for row in _rows(result, lambda reached: ("[green]", "[/]") if reached else ("[red]", "[/]")):
            shown.add_row(*row)
        shown.add_section()
    return shown


def markdown(results: Sequence[Result]) -> str:
    """The same for a document; a ratio that reaches its goal is bold."""
    lines = [
        "| " + " | ".join(_HEADINGS) + " |",
        "| " + " | ".join("---" if heading in _TEXT_COLUMNS else "---:" for heading in _HEADINGS) + " |",
    ]
    for result in results:
        rows = _rows(result, lambda reached: ("**", "**") if reached else ("", ""))
        lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*lines, "", NOTE])


def _rows(result: Result, mark: Callable[[bool], tuple[str, str]]) -> Iterator[tuple[str, ...]]:
    """One row for tezcat and one for its reference, for each figure."""
    title = f"{result.name}, {result.rounds[0].rows:,} rows"
    costs = [_costs([each.tezcat for each in result.rounds]), _costs([each.reference for each in result.rounds])]
    for figure in result.figures:
        reached = result.is_reached(figure)
        before, after = ("", "") if reached is None else mark(reached)
        judged = (f"{before}{result.ratio(figure):.2f}{after}", str(figure.goal or ""))
        ours, theirs = (_cells(result.spread(figure, side), figure.unit) for side in ("tezcat", "reference"))
        yield title, f"tezcat, {figure.name}", *ours, *judged, *costs[0]
        yield "", f"{result.reference}, {figure.name}", *theirs, "", "", *costs[1]
        # They belong to the rounds, not to one figure.
        title, costs = "", [("", "", ""), ("", "", "")]


def _number(value: float, unit: Unit) -> str:
    return f"{value:,.{_DIGITS[unit]}f}"


def _cells(spread: Spread, unit: Unit) -> tuple[str, ...]:
    return *(_number(value, unit) for value in (spread.minimum, spread.median, spread.maximum)), unit


def _costs(samples: Sequence[Sample]) -> tuple[str, str, str]:
    cpu = [each.cpu_seconds for each in samples if each.cpu_seconds is not None]
    peaks = [each.peak_bytes for each in samples if each.peak_bytes is not None]
    servers = Spread.of([each.server_cpu_seconds for each in samples])
    return (
        f"{Spread.of(cpu).median:.1f}" if cpu else "-",
        f"{servers.median:.1f}",
        f"{max(peaks) / 1e6:,.0f}" if peaks else "-",
    )
