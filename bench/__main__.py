"""``python -m bench [NAME ...] [--rounds N] [--rows N] [--json | --markdown]``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console

from bench import lag, memory, small_tables, snapshot, stream
from bench.measure import Round
from bench.report import Figure, Result, document, markdown, table
from bench.servers import Servers, two_servers

# Narrower, the table would lose columns.
_WIDTH: Final = 170
_PIPE: Final = "psql pipe"
_SUBSCRIPTION: Final = "subscription"


@dataclass(frozen=True, slots=True)
class _Benchmark:
    """``rows`` is the size that is meant; one that ``is_large`` runs only when it is named."""

    rows: int
    reference: str
    figures: Sequence[Figure]
    run: Callable[[Servers, int, int], Iterator[Round]]
    is_large: bool = False


_BENCHMARKS: Final = {
    "snapshot-masked": _Benchmark(1_000_000, _PIPE, snapshot.figures(1.3), snapshot.masked),
    "snapshot-plain": _Benchmark(1_000_000, _PIPE, snapshot.figures(1.1), snapshot.plain),
    "snapshot-500-tables": _Benchmark(250_000, "pg_dump, pg_restore", snapshot.figures(1.5), small_tables.tables),
    "stream-inserts": _Benchmark(300_000, _SUBSCRIPTION, stream.figures(0.9), stream.inserts),
    "stream-updates": _Benchmark(200_000, _SUBSCRIPTION, stream.figures(0.7), stream.updates),
    "stream-singles": _Benchmark(20_000, _SUBSCRIPTION, stream.figures(0.7), stream.singles),
    "lag": _Benchmark(20_000, _SUBSCRIPTION, lag.FIGURES, lag.steady),
    "memory-stream": _Benchmark(5_000_000, "a fifth of it", memory.figures(300), memory.stream, is_large=True),
    "memory-snapshot": _Benchmark(10_000_000, "a tenth of it", memory.figures(400), memory.snapshot, is_large=True),
}


def main() -> None:
    """Run what was asked for; progress on stderr, the results on stdout."""
    parser = _parser()
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in _BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]}; there are: {', '.join(_BENCHMARKS)}")
    names = arguments.names or [name for name, benchmark in _BENCHMARKS.items() if not benchmark.is_large]
    progress = Console(stderr=True, highlight=False, soft_wrap=True)
    results = []
    with two_servers() as servers:
        for name in names:
            benchmark = _BENCHMARKS[name]
            rounds: list[Round] = []
            for each in benchmark.run(servers, arguments.rows or benchmark.rows, arguments.rounds):
                rounds.append(each)
                only = Result(name, benchmark.reference, benchmark.figures, [each])
                progress.print(f"round {len(rounds)} of {arguments.rounds}, {only.line()}")
            results.append(Result(name, benchmark.reference, benchmark.figures, rounds))
    if arguments.json:
        json.dump(document(results), sys.stdout, indent=2)
        print()
    elif arguments.markdown:
        print(markdown(results))
    else:
        out = Console(highlight=False)
        out.width = max(out.width, _WIDTH)
        out.print(table(results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Benchmarks, each beside its reference.")
    usual = ", ".join(name for name, benchmark in _BENCHMARKS.items() if not benchmark.is_large)
    large = ", ".join(name for name, benchmark in _BENCHMARKS.items() if benchmark.is_large)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which to run; without: {usual}; large ones: {large}")
    parser.add_argument("--rounds", type=_positive, default=3, help="how often to measure each (3)")
    parser.add_argument("--rows", type=_positive, help="how many rows, in place of each benchmark's own number")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print all measured values as JSON")
    shape.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser


def _positive(text: str) -> int:
    value = int(text.replace("_", ""))
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


if __name__ == "__main__":
    main()
