"""Client programs that do not fit the server are named; those of this machine do."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from library import runbook, start
from looking import found_by

from django_runbook.databases import Database
from django_runbook.databases.client_versions import version_in
from django_runbook.exceptions import BackupFailed
from django_runbook.plan import make_plan
from django_runbook.preflight import Finding, Severity
from django_runbook.steps import Backup, Verify

PLAN = make_plan(runbook(Backup()), start())


def found(database: Database) -> list[Finding]:
    return found_by("runbook.P111", database, PLAN)


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Call it with a program's name and what it says to `--version`, to have it first on PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")

    def say(name: str, words: str, ends: int = 0) -> None:
        (folder / name).write_text(f"#!/bin/sh\necho '{words}'\nexit {ends}\n")
        (folder / name).chmod(0o755)

    return say


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("program", "words", "severity", "message"),
    [
        (
            "pg_dump",
            "pg_dump (PostgreSQL) 13.4 (Debian 13.4-1)",
            Severity.ERROR,
            "pg_dump is of version 13.4, older than the server (SERVER). It refuses to dump a newer server.",
        ),
        (
            "psql",
            "psql (PostgreSQL) 12.22",
            Severity.WARNING,
            "psql is of version 12.22, older than the server (SERVER).",
        ),
        (
            "pg_dump",
            "pg_dump (PostgreSQL) 99.1",
            Severity.WARNING,
            "pg_dump is of version 99.1, newer than the server (SERVER): its dump may have settings that the "
            "server refuses when it is restored.",
        ),
    ],
)
def test_a_program_of_postgresql_of_another_version_is_named(
    database: Database, says: object, program: str, words: str, severity: Severity, message: str
) -> None:
    says(program, words)
    server = database.server()
    finding = found(database)[0]
    assert finding == Finding(
        id="runbook.P111",
        severity=severity,
        message=message.replace("SERVER", str(server)),
        hint=f"Install the client programs of PostgreSQL {server.version[0]}, first on PATH.",
        subject=program,
    )


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "mariadb-dump  Ver 10.19 Distrib 10.3.39-MariaDB, for debian-linux-gnu (x86_64)",
            "mariadb-dump is of version 10.3.39, older than the server (SERVER): what it does not know yet "
            "may be missing from a backup.",
        ),
        (
            "mysqldump  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)",
            "mariadb-dump is of MySQL 8.0.36, and the server is SERVER: what only the server's own program "
            "knows may be missing from a backup.",
        ),
        ("mariadb-dump from 11.8.2-MariaDB, client 10.19 for debian-linux-gnu (x86_64)", ""),
        ("something else", ""),
    ],
)
def test_a_program_of_another_server_or_an_older_one_is_named(
    database: Database, says: object, words: str, message: str
) -> None:
    says("mariadb-dump", words)
    assert [it.message for it in found(database)] == (
        [message.replace("SERVER", str(database.server()))] if message else []
    )


def test_the_programs_of_this_machine_fit(database: Database) -> None:
    assert found(database) == []
    database.dump(io.BytesIO())


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_program_that_cannot_be_asked_is_no_matter_of_versions(database: Database, says: object) -> None:
    says("pg_dump", "broken", ends=3)
    assert found(database) == []
    with pytest.raises(BackupFailed):
        database.dump(io.BytesIO())


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_without_a_backup_no_program_is_asked(database: Database, says: object) -> None:
    says("pg_dump", "pg_dump (PostgreSQL) 9.6")
    assert found_by("runbook.P111", database, make_plan(runbook(Verify()), start())) == []


@pytest.mark.parametrize(
    ("words", "version"),
    [
        ("mysqldump  Ver 10.13 Distrib 5.7.44, for Linux (x86_64)", ("MySQL", (5, 7, 44))),
        ("mysqldump  Ver 9.1.0 for Linux on x86_64 (MySQL Community Server - GPL)", ("MySQL", (9, 1, 0))),
        ("mariadb from 11.4.2-MariaDB, client 15.2 for Linux", ("MariaDB", (11, 4, 2))),
        ("mysql  Ver 15.1 Distrib 10.11.6-MariaDB, for debian-linux-gnu", ("MariaDB", (10, 11, 6))),
        ("pg_dump (PostgreSQL) 17beta1", ("PostgreSQL", (17,))),
        ("psql (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", ("PostgreSQL", (15, 18))),
        ("pg_dump (Other) 1", None),
    ],
)
def test_what_a_program_says_of_itself(words: str, version: object) -> None:
    assert version_in(words) == version
