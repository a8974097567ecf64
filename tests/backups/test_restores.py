"""What a restore says and refuses before it begins, and what is seen of one that was cut off."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from children import start_child
from private_server import children_of
from situations import alter, canonical, fill, run

from django_runbook.backups import (
    Level,
    Terms,
    losses,
    make_backup,
    refuse_connected,
    restore_backup,
)
from django_runbook.databases import Database
from django_runbook.databases.scratch import scratch_of
from django_runbook.exceptions import Refused
from django_runbook.preflight import cut_off_restores

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
LIMIT = timedelta(seconds=30)
PROVEN = Terms(level=Level.PROVEN)


@contextmanager
def another_session(database: Database) -> Iterator[None]:
    other = database.connection.copy()
    other.ensure_connection()
    try:
        yield
    finally:
        other.close()


def test_what_a_restore_would_lose_is_counted_by_table(database: Database, tmp_path: Path) -> None:
    fill(database)
    made = make_backup(database, tmp_path, terms=PROVEN, now=NOW)
    assert losses(made, database, LIMIT) == []
    run(
        database,
        "INSERT INTO log VALUES ('a'), ('b')",
        "DELETE FROM child WHERE id = 3",
        "UPDATE parent SET name = 'Zoë' WHERE id = 1",
        "CREATE TABLE added (x INTEGER)",
        "CREATE TABLE django_runbook_of_ours (x INTEGER)",
    )
    place = "public." if database.connection.vendor == "postgresql" else ""
    assert [words.removeprefix(place) for words in losses(made, database, LIMIT)] == [
        "added: 0 rows; the backup's manifest does not know the table",
        "child: 1 rows fewer than in the backup, which come back",
        "log: 2 rows more than in the backup",
        "parent: other values in some of its 2 rows",
    ]


def test_that_the_losses_take_too_long_to_count_is_said(database: Database, tmp_path: Path) -> None:
    fill(database)
    made = make_backup(database, tmp_path, terms=Terms(), now=NOW)
    [words] = losses(made, database, timedelta(0))
    assert words == "not counted: that takes longer than 0 s"


@pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)
def test_others_who_are_connected_are_named(database: Database) -> None:
    refuse_connected(database)
    with another_session(database), pytest.raises(Refused) as refused:
        refuse_connected(database)
    user = database.connection.settings_dict["USER"]
    assert f"Others are connected to database '{database.alias}':\n- session " in refused.value.message
    assert f" of user '{user}' from " in refused.value.message
    assert "say --while-connected if you mean it." in refused.value.hint


@pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)
def test_a_session_that_is_about_to_end_is_waited_for(database: Database) -> None:
    other = database.connection.copy()
    other.ensure_connection()
    assert database.surroundings.connected()
    leaving = threading.Timer(0.3, other.connection.close)  # the driver's: Django's belongs to this thread
    leaving.start()
    refuse_connected(database)
    leaving.join()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_process_that_has_the_file_open_is_named(database: Database, tmp_path: Path) -> None:
    refuse_connected(database)
    file = database.connection.settings_dict["NAME"]
    with start_child(f"file = open({str(file)!r}); ready(); wait()") as child:
        child.wait_until_ready()
        with pytest.raises(Refused) as refused:
            refuse_connected(database)
    assert f"- process {child.pid} (" in refused.value.message


KILLED_RESTORE = """
from pathlib import Path
from django_runbook import programs
from django_runbook.backups import restore_backup, streams

programs.CHUNK = 300
opened = streams.opened_dump

@contextmanager
def slowly(path, identities):
    with opened(path, identities) as dump:
        yield Slow(dump)

class Slow:
    def __init__(self, dump):
        self.dump, self.left = dump, {reads}

    def read(self, size):
        self.left -= 1
        if not self.left:
            ready()
            wait()
        return self.dump.read(size)

streams.opened_dump = slowly
restore_backup(Path("{manifest}"), get_database("{alias}"))
"""


def kill_a_restore(database: Database, manifest: Path, reads: int) -> None:
    """Of a dump that is read 300 bytes at a time, before this one."""
    code = KILLED_RESTORE.format(reads=reads, manifest=manifest, alias=database.alias)
    with start_child("from contextlib import contextmanager\n" + code, database) as child:
        child.wait_until_ready()
        clients = children_of(child.pid)
        child.kill()
        assert child.process.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 30
    # The client program, which may not be connected yet, and its session go on to the end of their input.
    while any(Path(f"/proc/{pid}").exists() for pid in clients) or database.surroundings.connected():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("reads", [1, 4, 12])
def test_a_killed_restore_is_nothing_or_is_seen_and_can_be_repeated(
    database: Database, tmp_path: Path, reads: int
) -> None:
    fill(database)
    before = canonical(database)
    made = make_backup(database, tmp_path, terms=Terms(), now=NOW)
    alter(database)
    altered = canonical(database)
    kill_a_restore(database, made.path, reads)
    if database.cut_off_restore():
        assert not database.rolls_back_ddl
        refuses_an_incomplete(database, tmp_path)
    else:
        assert canonical(database) == altered
        assert database.rolls_back_ddl or reads == 1
    restore_backup(made.path, database)
    assert canonical(database) == before
    assert list(cut_off_restores.CHECK.look(database)) == []


def refuses_an_incomplete(database: Database, folder: Path) -> None:
    """By the check, and by a backup."""
    words = rf"^Database '{database.alias}' is incomplete: a restore that began at 2\S+ \S+ UTC was cut off\."
    with pytest.raises(Refused, match=words):
        make_backup(database, folder, terms=Terms(), now=NOW)
    [finding] = cut_off_restores.CHECK.look(database)
    assert finding.hint == "Repeat it: `manage.py runbook restore FILE`."


def test_a_backup_is_restored_into_an_empty_database_of_another_name(
    database: Database, tmp_path: Path
) -> None:
    fill(database)
    before = canonical(database)
    made = make_backup(database, tmp_path, terms=Terms(), now=NOW)
    with scratch_of(database) as new:
        restore_backup(made.path, new)
        assert new.row_counts() == database.row_counts()
        with pytest.raises(Refused, match="or restore it into an empty one"):
            restore_backup(made.path, new)
    assert canonical(database) == before
