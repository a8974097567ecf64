from __future__ import annotations

import io
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from situations import dumped, fill, run

from django_runbook.databases import Database
from django_runbook.exceptions import BackupFailed

pytestmark = pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)

DUMPERS = {"mysql": "mariadb-dump", "postgresql": "pg_dump"}
LOADERS = {"mysql": "mariadb", "postgresql": "psql"}


def put_on_path(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, script: str) -> None:
    """Make a program that is found before the real one."""
    program = folder / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def test_a_dump_that_is_cut_off_is_no_backup_although_its_program_reports_success(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = DUMPERS[database.connection.vendor]
    put_on_path(monkeypatch, tmp_path, name, "echo 'CREATE TABLE t (x INTEGER);'; exit 0")
    with pytest.raises(BackupFailed) as caught:
        dumped(database)
    assert str(caught.value) == (
        f"The backup of database '{database.alias}' failed: {name} ended with success, but its output is"
        " cut off.\nThe database was not changed."
    )


def test_a_failing_program_is_quoted_without_the_password(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = DUMPERS[database.connection.vendor]
    put_on_path(monkeypatch, tmp_path, name, 'echo "no luck with $MYSQL_PWD$PGPASSWORD today" >&2; exit 7')
    with pytest.raises(BackupFailed) as caught:
        dumped(database)
    assert caught.value.message == (
        f"The backup of database '{database.alias}' failed: {name} ended with exit code 7:"
        " no luck with *** today"
    )


def test_a_wrong_password_is_not_echoed(database: Database) -> None:
    fill(database)
    wrong = "wr0ng/p@ss'word"
    database.connection.settings_dict["PASSWORD"] = wrong
    with pytest.raises(BackupFailed) as caught:
        dumped(database)
    text = str(caught.value)
    assert "ended with exit code" in text
    assert "ccess denied" in text or "authentication failed" in text
    assert wrong not in text


def test_the_password_is_on_no_command_line(database: Database) -> None:
    run(database, "CREATE TABLE bulk (x TEXT)")  # more than fits into a pipe, so that the programs stay
    run(database, *["INSERT INTO bulk VALUES (REPEAT('x', 60000))"] * 50)
    seen: list[list[str]] = []

    class Watch(io.BytesIO):
        def write(self, chunk: Any) -> int:
            seen.extend(command_lines_of_children())
            return super().write(chunk)

    watch = Watch()
    database.dump(watch)

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            seen.extend(command_lines_of_children())
            return super().read(size)

    database.restore(Slow(watch.getvalue()))
    vendor = database.connection.vendor
    assert runs(DUMPERS[vendor], seen)
    assert runs(LOADERS[vendor], seen)
    password = database.secrets[0]
    assert password
    assert not [line for line in seen if any(password in argument for argument in line)]


def command_lines_of_children() -> list[list[str]]:
    """Command lines of the processes that this process has started, as anyone on the machine reads them."""
    lines = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread or a child that has just ended
            for pid in (task / "children").read_text().split():
                lines.append(Path(f"/proc/{pid}/cmdline").read_text().split("\0"))
    return lines


def runs(program: str, lines: list[list[str]]) -> bool:
    return any(Path(line[0]).name == program for line in lines)


def test_a_program_that_is_not_installed_is_named(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    vendor = database.connection.vendor
    assert database.missing_programs() == [DUMPERS[vendor], LOADERS[vendor]]
    with pytest.raises(BackupFailed, match=f"The program {DUMPERS[vendor]} was not found on PATH"):
        dumped(database)


def test_no_program_is_missing_where_the_client_is_installed(database: Database) -> None:
    assert database.missing_programs() == []


def test_a_restore_stopped_by_the_operator_leaves_no_program_behind(database: Database) -> None:
    fill(database)
    dump = dumped(database)

    class Interrupting(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        database.restore(Interrupting(dump))
    assert not runs(LOADERS[database.connection.vendor], command_lines_of_children())
