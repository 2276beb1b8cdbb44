"""``python -m bench [NAME ...] [--rounds N] [--scale F] [--json]``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from rich.console import Console

from bench import snapshot, stream
from bench.measure import Round
from bench.report import Result, Unit, document, table
from bench.servers import Servers, two_servers

# Narrower, the table would lose columns.
_WIDTH: Final = 150


@dataclass(frozen=True, slots=True)
class _Benchmark:
    unit: Unit
    goal: float
    run: Callable[[Servers, float, int], Iterator[Round]]


_BENCHMARKS: Final = {
    "snapshot-masked": _Benchmark("s", 1.3, snapshot.masked),
    "snapshot-plain": _Benchmark("s", 1.1, snapshot.plain),
    "stream-inserts": _Benchmark("rows/s", 0.9, stream.inserts),
    "stream-updates": _Benchmark("rows/s", 0.7, stream.updates),
    "stream-singles": _Benchmark("rows/s", 0.7, stream.singles),
}


def main() -> None:
    """Run what was asked for; progress on stderr, the results on stdout."""
    parser = _parser()
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in _BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]}; there are: {', '.join(_BENCHMARKS)}")
    progress = Console(stderr=True, highlight=False)
    results = []
    with two_servers() as servers:
        for name in arguments.names or _BENCHMARKS:
            benchmark = _BENCHMARKS[name]
            rounds: list[Round] = []
            for each in benchmark.run(servers, arguments.scale, arguments.rounds):
                rounds.append(each)
                times = f"tezcat {each.tezcat.seconds:.2f} s, reference {each.reference.seconds:.2f} s"
                progress.print(f"{name}, round {len(rounds)} of {arguments.rounds}: {times}")
            results.append(Result(name, benchmark.unit, benchmark.goal, rounds))
    if arguments.json:
        json.dump(document(results, arguments.scale), sys.stdout, indent=2)
        print()
    else:
        out = Console(highlight=False)
        out.width = max(out.width, _WIDTH)
        out.print(table(results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Benchmarks, each beside its reference.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which to run; all: {', '.join(_BENCHMARKS)}")
    parser.add_argument("--rounds", type=_at_least(1, int), default=3, help="how often to measure each (3)")
    parser.add_argument(
        "--scale", type=_at_least(0.001, float), default=1.0, help="a factor for the numbers of rows (1.0)"
    )
    parser.add_argument("--json", action="store_true", help="print all measured values as JSON")
    return parser


def _at_least(least: float, kind: type[int | float]) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = kind(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return value

    return number


if __name__ == "__main__":
    main()
