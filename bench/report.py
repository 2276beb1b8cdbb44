"""What is told: a table for people, JSON for programs.

A snapshot's value is seconds, and the ratio may be at most the goal. A stream's value is rows a second, and the ratio
must be at least the goal. The ratio is that of the two medians.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.table import Table

from bench.measure import Round, Sample, Spread
from bench.servers import VERSION

Unit = Literal["s", "rows/s"]


@dataclass(frozen=True, slots=True)
class Result:
    """All rounds of one benchmark, with what it is measured by."""

    name: str
    unit: Unit
    goal: float
    rounds: Sequence[Round]

    @property
    def tezcat(self) -> Spread:
        """tezcat's values."""
        return Spread.of([self._value(each, each.tezcat) for each in self.rounds])

    @property
    def reference(self) -> Spread:
        """The reference's values."""
        return Spread.of([self._value(each, each.reference) for each in self.rounds])

    @property
    def ratio(self) -> float:
        """tezcat's median by the reference's."""
        return self.tezcat.median / self.reference.median

    @property
    def reached(self) -> bool:
        """Whether the ratio is what it shall be."""
        return self.ratio <= self.goal if self.unit == "s" else self.ratio >= self.goal

    def as_json(self) -> dict[str, Any]:
        """All of it, every round included."""
        return {
            "name": self.name,
            "unit": self.unit,
            "tezcat": asdict(self.tezcat),
            "reference": asdict(self.reference),
            "ratio": self.ratio,
            "goal": self.goal,
            "reached": self.reached,
            "rounds": [asdict(each) for each in self.rounds],
        }

    def _value(self, each: Round, sample: Sample) -> float:
        return sample.seconds if self.unit == "s" else each.rows / sample.seconds


def document(results: Sequence[Result], scale: float) -> dict[str, Any]:
    """The results with the machine that gave them."""
    machine = {"cpus": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()}
    return {
        "machine": machine,
        "postgresql": VERSION,
        "scale": scale,
        "benchmarks": [result.as_json() for result in results],
    }


def table(results: Sequence[Result]) -> Table:
    """One row for tezcat and one for its reference."""
    shown = Table(caption="CPU, servers' CPU: seconds, medians. Peak: all processes together, the worst round.")
    for heading in ("benchmark", "", "min", "median", "max", "unit", "CPU", "servers' CPU", "peak MB", "ratio", "goal"):
        shown.add_column(heading, justify="left" if heading in ("benchmark", "", "unit") else "right", no_wrap=True)
    for result in results:
        sign = "≤" if result.unit == "s" else "≥"
        verdict = f"[{'green' if result.reached else 'red'}]{result.ratio:.2f}[/]"
        ours, theirs = ([getattr(each, side) for each in result.rounds] for side in ("tezcat", "reference"))
        shown.add_row(
            f"{result.name}, {result.rounds[0].rows:,} rows", "tezcat", *_cells(result.tezcat, result.unit),
            *_costs(ours), verdict, f"{sign} {result.goal}",
        )  # fmt: skip
        shown.add_row("", "reference", *_cells(result.reference, result.unit), *_costs(theirs), "", "")
        idle = [each.idle_seconds for each in result.rounds if each.idle_seconds is not None]
        if idle:
            shown.add_row("", "nothing to do", *_cells(Spread.of(idle), "s"))
        shown.add_section()
    return shown


def _cells(spread: Spread, unit: Unit) -> list[str]:
    digits = 2 if unit == "s" else 0
    return [*(f"{value:,.{digits}f}" for value in (spread.minimum, spread.median, spread.maximum)), unit]


def _costs(samples: Sequence[Sample]) -> list[str]:
    cpu = [each.cpu_seconds for each in samples if each.cpu_seconds is not None]
    peaks = [each.peak_bytes for each in samples if each.peak_bytes is not None]
    servers = Spread.of([each.server_cpu_seconds for each in samples])
    return [
        f"{Spread.of(cpu).median:.1f}" if cpu else "-",
        f"{servers.median:.1f}",
        f"{max(peaks) / 1e6:,.0f}" if peaks else "-",
    ]
