"""Check everything: ruff, mypy, and the test suite on SQLite, MariaDB and PostgreSQL.

Further arguments go to pytest: scripts/test -x -k backfill
"""

from __future__ import annotations

import argparse
import os
import subprocess
from collections.abc import Iterator
from itertools import product

from provision import (
    ROOT,
    Failed,
    activated,
    development_requirements,
    find_python,
    finish,
    make_venv,
    provide,
    run,
    say,
)

NEEDED = ("mariadb", "mydumper", "postgresql", "pgbouncer", "redis", "rabbitmq", "mysqlclient")
PYTHONS = ("3.11", "3.12", "3.13")
DJANGOS = ("5.2", "6.0", "6.1")
OLDEST_PYTHON = {"6.0": "3.12", "6.1": "3.12"}
"""Of the Djangos that do not take all of PYTHONS."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/test",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--matrix",
        action="store_true",
        help="run the suite, and only it, on every Python and Django supported",
    )
    options, for_pytest = parser.parse_known_args(arguments)
    requirements = development_requirements(mysqlclient="mysqlclient" not in provide(*NEEDED))
    if options.matrix:
        run_matrix(requirements, for_pytest)
    else:
        run_all(requirements, for_pytest)
    return 0


def run_all(requirements: list[str], for_pytest: list[str]) -> None:
    """Run every check with this Python and the newest Django it takes. Raise Failed at the first failure."""
    env = activated(make_venv(ROOT / ".venv-test", *requirements))
    run("ruff", "check", ".", env=env)
    run("ruff", "format", "--check", ".", env=env)
    run("mypy", env=env)
    run("pytest", "-n", "auto", *drawn_by_the_commit(), *for_pytest, env=env)


def drawn_by_the_commit() -> list[str]:
    """Options of pytest: in CI each commit visits other moments, and the same one the same again."""
    if not os.environ.get("CI"):
        return []
    asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    commit = asked.stdout.strip()
    return [f"--randomly-seed={int(commit[:8], 16)}", f"--testrunuid={commit}"]


def run_matrix(requirements: list[str], for_pytest: list[str]) -> None:
    """Run the suite on each combination. Raise Failed at the first failure; in CI, if a Python is missing."""
    missing = [version for version in PYTHONS if not find_python(version)]
    if missing:
        not_found = f"Not found, so not tested: {', '.join(f'Python {version}' for version in missing)}."
        if os.environ.get("CI"):
            raise Failed(not_found)
    for python, django in combinations():
        if interpreter := find_python(python):
            say(f"Python {python}, Django {django}")
            folder = ROOT / f".venv-test-{python}-{django}"
            venv = make_venv(folder, *requirements, f"Django~={django}.0", python=interpreter)
            run("pytest", "-n", "auto", *for_pytest, env=activated(venv))
    if missing:
        say(not_found)


def combinations() -> Iterator[tuple[str, str]]:
    for python, django in product(PYTHONS, DJANGOS):
        if python >= OLDEST_PYTHON.get(django, python):
            yield python, django


if __name__ == "__main__":
    finish(main)
