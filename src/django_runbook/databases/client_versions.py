"""What a client program says about its version, and whether it fits a server. Pure, but for `asked`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta

from django_runbook.exceptions import ProgramFailed
from django_runbook.programs import run_program

PATIENCE = timedelta(seconds=5)
_VERSION = re.compile(
    r"\((?P<postgresql>PostgreSQL)\) (?P<p>\d+(?:\.\d+)*)"
    r"|(?:Distrib|from) (?P<d>\d+\.\d+\.\d+)(?P<mariadb>-MariaDB)?"
    r"|Ver (?P<v>\d+\.\d+\.\d+) for"
)


def version_in(text: str) -> tuple[str, tuple[int, ...]] | None:
    """Product and version as `--version` of a program tells them; None if it tells something else."""
    found = _VERSION.search(text)
    if not found:
        return None
    product = "PostgreSQL" if found["postgresql"] else "MariaDB" if found["mariadb"] else "MySQL"
    number = found["p"] or found["d"] or found["v"]
    return product, tuple(map(int, number.split(".")))


def asked(argv: Sequence[str], env: Mapping[str, str] | None = None) -> tuple[str, tuple[int, ...]] | None:
    """Run `argv`, which asks a program for its version. None if it cannot be run or understood."""
    try:
        return version_in(run_program(argv, timeout=PATIENCE, env=env))
    except ProgramFailed:
        return None


def dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))
