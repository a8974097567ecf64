from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from situations import canonical, dumped, fill, run, run_script

from django_runbook.databases import Database
from django_runbook.exceptions import RestoreFailed

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def other(database: Database) -> Iterator[sqlite3.Connection]:
    """Another process's connection, as far as SQLite is concerned."""
    with closing(sqlite3.connect(database.name, isolation_level=None, timeout=0.1)) as connection:
        yield connection


def test_a_dump_holds_what_is_still_in_the_write_ahead_log(
    database: Database, other: sqlite3.Connection, tmp_path: Path
) -> None:
    other.execute("PRAGMA journal_mode=WAL")
    other.execute("CREATE TABLE t (x)")
    other.execute("INSERT INTO t VALUES ('in the log')")
    assert Path(f"{database.name}-wal").stat().st_size > 0
    copy = tmp_path / "copy.sqlite3"
    copy.write_bytes(dumped(database))
    with closing(sqlite3.connect(copy)) as restored:
        assert restored.execute("SELECT x FROM t").fetchall() == [("in the log",)]


def test_a_restore_supersedes_a_live_write_ahead_log(database: Database, other: sqlite3.Connection) -> None:
    run(database, "PRAGMA journal_mode=WAL", "CREATE TABLE t (x)", "INSERT INTO t VALUES ('before')")
    dump = dumped(database)
    other.execute("UPDATE t SET x = 'after'")
    other.execute("CREATE TABLE added (x)")
    database.restore(io.BytesIO(dump))
    for ask in (other.execute, database.connection.connection.execute):
        assert ask("SELECT x FROM t").fetchall() == [("before",)]
        assert ask("SELECT name FROM sqlite_master").fetchall() == [("t",)]
    with closing(sqlite3.connect(database.name)) as third:
        assert third.execute("SELECT x FROM t").fetchall() == [("before",)]
        assert third.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_an_open_reader_of_a_write_ahead_log_keeps_its_view_through_a_restore(
    database: Database, other: sqlite3.Connection
) -> None:
    run(database, "PRAGMA journal_mode=WAL", "CREATE TABLE t (x)", "INSERT INTO t VALUES ('before')")
    dump = dumped(database)
    run(database, "UPDATE t SET x = 'after'")
    other.execute("BEGIN")
    assert other.execute("SELECT x FROM t").fetchall() == [("after",)]
    database.restore(io.BytesIO(dump))
    assert other.execute("SELECT x FROM t").fetchall() == [("after",)]
    other.execute("COMMIT")
    assert other.execute("SELECT x FROM t").fetchall() == [("before",)]


def test_a_busy_writer_makes_a_restore_fail_after_a_while_and_change_nothing(
    database: Database, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_runbook.databases.sqlite_backup.BUSY_TIMEOUT", timedelta(milliseconds=100))
    fill(database)
    dump = dumped(database)
    run(database, "DROP TABLE counted", "PRAGMA busy_timeout = 50")
    before = canonical(database)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RestoreFailed) as caught:
        database.restore(io.BytesIO(dump))
    other.execute("ROLLBACK")
    assert str(caught.value) == (
        "The restore of database 'default' failed: another process keeps a transaction open on the"
        " database.\nThe database is as it was before the restore."
    )
    assert canonical(database) == before


def test_a_file_that_is_no_database_is_not_restored(database: Database) -> None:
    fill(database)
    before = canonical(database)
    with pytest.raises(RestoreFailed, match="file is not a database"):
        database.restore(io.BytesIO(b"-- not SQLite" * 1000))
    assert canonical(database) == before


def test_a_database_in_memory_is_dumped_and_restored(database: Database) -> None:
    database.connection.settings_dict["NAME"] = ":memory:"
    run_script(database, "CREATE TABLE t (x); INSERT INTO t VALUES (1);")
    dump = dumped(database)
    run_script(database, "DROP TABLE t; CREATE TABLE u (x);")
    database.restore(io.BytesIO(dump))
    assert database.row_counts() == {"t": 1}
    database.connection.connection.close()  # Django keeps a database in memory open


def test_no_copy_is_left_beside_the_database(database: Database) -> None:
    fill(database)
    database.restore(io.BytesIO(dumped(database)))
    assert {path.name for path in Path(database.name).parent.iterdir()} == {Path(database.name).name}
