"""The client programs of MySQL and MariaDB: which are there, and how they are called."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MARIADB_TLS = {
    "DISABLED": ["--skip-ssl"],
    "PREFERRED": [],
    "REQUIRED": ["--ssl"],
    "VERIFY_CA": ["--ssl", "--ssl-verify-server-cert"],
    "VERIFY_IDENTITY": ["--ssl", "--ssl-verify-server-cert"],
}
"""MariaDB's programs' words for the driver's `ssl_mode`; MySQL's programs take it as it is."""


def installed(programs: tuple[str, str]) -> str:
    """Choose the first program that is on PATH; if none is, the one whose absence is to be reported."""
    return next(filter(shutil.which, programs), programs[0])


def speaks_mariadb(program: str) -> bool:
    """Is it MariaDB's program, be it under MySQL's name (a symbolic link, as Debian installs them)?"""
    path = shutil.which(program)
    return "mariadb" in program or (path is not None and "mariadb" in Path(path).resolve().name)


@contextmanager
def without_database(defaults_file: str | None) -> Iterator[str | None]:
    """Copy an option file without the `database` that Django's manual puts there: dump programs refuse it."""
    if not defaults_file:
        yield None
        return
    text = re.sub(r"(?m)^\s*database\s*=.*$", "", Path(defaults_file).read_text())
    with tempfile.NamedTemporaryFile("w", suffix=".cnf") as copy:  # made with mode 0600
        copy.write(text)
        copy.flush()
        yield copy.name
