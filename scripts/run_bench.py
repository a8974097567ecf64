"""Run a benchmark and print its medians and ratios.

Each one measures two ways to do the same side by side, in turn, in one run on this machine.
"""

from __future__ import annotations

import argparse
import json
import platform
import signal
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

from comparison import Comparison
from provision import ROOT, development_requirements, enter, finish, is_inside, make_venv, provide, say

BENCHMARKS = ROOT / "benchmarks"


def main(arguments: list[str]) -> int:
    venv = ROOT / ".venv-bench"
    if not is_inside(venv):
        missing = provide("mariadb", "mydumper", "postgresql", "programs", "mysqlclient")
        built = "mysqlclient" not in missing
        enter(make_venv(venv, *development_requirements(mysqlclient=built, benchmarks=True)))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = parse(arguments)
    say(options.benchmark.__doc__)
    comparisons = list(options.benchmark.measure(options))
    print_table(options, comparisons)
    if options.json:
        options.json.write_text(json.dumps(to_json(options, comparisons), indent=2) + "\n")
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the options: the common ones, and those of the benchmark that is named."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name, benchmark in load_benchmarks().items():
        sub = names.add_parser(
            name,
            help=(benchmark.__doc__ or "").partition("\n")[0],
            description=benchmark.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(benchmark=benchmark)
        sub.add_argument("--runs", type=int, default=3, metavar="N", help="of each way (default: 3)")
        sub.add_argument("--json", type=Path, metavar="FILE", help="write every figure to FILE as well")
        benchmark.add_arguments(sub)
    return parser.parse_args(arguments)


def load_benchmarks() -> dict[str, ModuleType]:
    sys.path.insert(0, str(BENCHMARKS))
    return {file.stem: import_module(file.stem) for file in sorted(BENCHMARKS.glob("*.py"))}


def print_table(options: argparse.Namespace, comparisons: list[Comparison]) -> None:
    from rich.console import Console  # which only the virtual environment has
    from rich.table import Table

    table = Table(title=f"{options.name}: {options.runs} runs of each, seconds", title_justify="left")
    ours, theirs = comparisons[0].ours, comparisons[0].theirs
    for heading in ("", ours, theirs, "ratio", "pair by pair"):
        table.add_column(heading, justify="right" if heading else "left")
    for it in comparisons:
        seconds = (f"{median(each):.2f}" for each in (it.our_seconds, it.their_seconds))
        pairs = " ".join(f"{ratio:.2f}" for ratio in it.ratios)
        table.add_row(it.case, *seconds, f"{median(it.ratios):.2f}×", pairs)
    Console().print(table)
    say(f"Medians; the ratio is {ours} to {theirs}.")


def to_json(options: argparse.Namespace, comparisons: list[Comparison]) -> dict[str, Any]:
    return {
        "command": ["scripts/bench", *sys.argv[1:]],
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "comparisons": [comparison.to_json() for comparison in comparisons],
    }


if __name__ == "__main__":
    finish(main)
