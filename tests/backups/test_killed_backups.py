"""A backup killed with SIGKILL at any moment leaves nothing that looks whole, and the next one tidies up."""

from __future__ import annotations

import json
import os
import signal
from collections import namedtuple
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from children import Child, start_child
from places import report_missing
from situations import run

from django_runbook.backups import (
    Level,
    Terms,
    find_backups,
    make_backup,
    required_space,
    restore_backup,
    space,
    take_backup,
    unfinished,
)
from django_runbook.databases import Database
from django_runbook.exceptions import Refused
from django_runbook.files import PARTIAL_SUFFIX

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

CODE = """
import json
import signal
import traceback
from datetime import UTC, datetime
from pathlib import Path
from django.db import connections
from django_runbook import backups
from django_runbook.backups import proof, retention, streams, taking, unfinished, writing
from django_runbook.databases import sqlite, sqlite_backup
from folder_dumpers import Pieces

Pieces.jobs = []
sqlite.SQLiteDatabase.folder_dumpers = property(lambda self: [Pieces(self)])

def stop(*args, **terms):
    ready(os.getpid())
    signal.pause()

def after(place, name):
    call = getattr(place, name)
    setattr(place, name, lambda *args, **terms: (call(*args, **terms), stop()))

def back_up(moment, alias, place, folder):
    words = {"dumper": ""}
    exec(moment, globals(), words)
    connections.settings[alias].update(place)
    backups.take_backup(
        get_database(alias),
        Path(folder),
        terms=backups.Terms(level=backups.Level.PROVEN, **words),
        unfinished=(),
        now=datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC),
    )

for line in sys.stdin:
    pid = os.fork()
    if not pid:
        try:
            back_up(**json.loads(line))
        except BaseException:
            traceback.print_exc()
        ready("not stopped")
        os._exit(0)
    os.waitpid(pid, 0)
    ready("ended")
"""
MOMENTS = {
    "at its first bytes": "streams.DumpWriter.put = stop",
    "at its last bytes": "streams.DumpWriter.finish = stop",
    "before its proof": "writing.prove = stop",
    "in its proof": "proof.differences = stop",
    "when its manifest is written": "unfinished.Unfinished.publish = stop",
    "when the dump has its name": "after(unfinished.Unfinished, 'publish')",
    "when a folder is written": "dumper = 'pieces'; unfinished.UnfinishedFolder.files = stop",
    "when a folder has its name": "dumper = 'pieces'; after(unfinished.Unfinished, 'publish')",
}

ON_A_SERVER = ["at its first bytes", "before its proof", "when the dump has its name"]


@pytest.fixture
def folder(tmp_path: Path, database: Database) -> Path:
    run(database, "CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    return tmp_path / "backups"


@pytest.fixture(scope="module")
def nursery() -> Iterator[Child]:
    """A process that forks those that take a backup, as each moment would cost to start one anew."""
    with start_child(CODE) as child:
        yield child


class Stopped:
    """A process that takes a backup, and has come to a certain moment."""

    def __init__(self, nursery: Child, pid: int) -> None:
        self.nursery = nursery
        self.pid = pid

    def kill(self) -> None:
        """SIGKILL, and wait for the end; or nothing, if it was killed before."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self.nursery.wait_until_ready("ended")
            self.pid = 0


StopAt = Callable[[str], Stopped]


@pytest.fixture
def stop_at(nursery: Child, database: Database, folder: Path) -> Iterator[StopAt]:
    """Call it with a moment, in Python, to have a process that takes a backup and has come to it."""
    started: list[Stopped] = []

    def start(moment: str) -> Stopped:
        settings = database.connection.settings_dict
        place = {name: settings[name] for name in ("HOST", "PORT", "USER", "PASSWORD", "NAME")}
        request = {"moment": moment, "alias": database.alias, "place": place, "folder": str(folder)}
        assert nursery.process.stdin is not None
        assert nursery.process.stdout is not None
        nursery.process.stdin.write(json.dumps(request) + "\n")
        nursery.process.stdin.flush()
        said = nursery.process.stdout.readline().strip()
        if not said.isdigit():
            nursery.wait_until_ready("ended")
            raise AssertionError(f"{moment}: {said}")
        started.append(Stopped(nursery, int(said)))
        return started[-1]

    yield start
    for stopped in started:
        stopped.kill()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("database", "moment"),
    [*(("sqlite", moment) for moment in MOMENTS), *(("mariadb", moment) for moment in ON_A_SERVER)],
    indirect=["database"],
)
def test_a_killed_backup_leaves_nothing_that_looks_whole_and_is_swept_by_the_next(
    database: Database, folder: Path, stop_at: StopAt, moment: str
) -> None:
    stop_at(MOMENTS[moment]).kill()
    left = names(folder)
    assert left
    assert find_backups(folder) == []
    taken = take_backup(database, folder, terms=Terms(), unfinished=(), now=LATER)
    assert set(taken.swept) == {name for name in left if name.endswith(PARTIAL_SUFFIX)}
    assert names(folder) == {taken.manifest.file, taken.manifest.path.name}
    assert restore_backup(taken.manifest.path, database) == taken.manifest


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
@pytest.mark.parametrize("moment", ["unfinished.UnfinishedFolder.files = stop", "writing.prove = stop"])
def test_a_killed_backup_by_several_sessions_is_swept_by_the_next(
    request: pytest.FixtureRequest, database: Database, folder: Path, stop_at: StopAt, moment: str
) -> None:
    """By the real program."""
    [dumper] = database.folder_dumpers
    if dumper.unfit():
        report_missing(request.config, dumper.name, dumper.unfit())
    stop_at(f"dumper = {dumper.name!r}; {moment}").kill()
    [left] = folder.iterdir()
    assert len(list(left.iterdir())) > 1
    assert find_backups(folder) == []
    terms = Terms(level=Level.PROVEN, dumper=dumper.name, jobs=2)
    taken = take_backup(database, folder, terms=terms, unfinished=(), now=LATER)
    assert taken.swept == (left.name,)
    assert names(folder) == {taken.manifest.file, taken.manifest.path.name}
    assert restore_backup(taken.manifest.path, database) == taken.manifest


@SQLITE
@pytest.mark.parametrize("where", ["in the dump", "in the restore"])
def test_a_killed_private_copy_is_swept_by_the_next(
    database: Database, folder: Path, stop_at: StopAt, where: str
) -> None:
    """SQLite's, of the whole database without compression: beside the dump, and beside the database."""
    function = "content_of" if where == "in the dump" else "check_integrity"
    stop_at(f"sqlite_backup.{function} = stop").kill()
    place = folder if where == "in the dump" else Path(database.name).parent
    [copy] = place.glob(".runbook-*.partial")
    assert (copy / "copy.sqlite3").exists()
    taken = take_backup(database, folder, terms=Terms(level=Level.PROVEN), unfinished=(), now=LATER)
    assert not copy.exists()
    assert names(folder) == {taken.manifest.file, taken.manifest.path.name}


@SQLITE
@pytest.mark.parametrize(
    "moment",
    [
        "sqlite_backup.content_of = stop",
        "sqlite_backup.check_integrity = stop",
        "when a folder is written",
        "when the dump has its name",
    ],
)
def test_a_backup_that_is_still_being_made_is_left_alone(
    database: Database, folder: Path, stop_at: StopAt, moment: str
) -> None:
    stopped = stop_at(MOMENTS.get(moment, moment))
    there, beside = names(folder), names(folder.parent)
    taken = take_backup(database, folder, terms=Terms(level=Level.PROVEN), unfinished=(), now=NOW)
    assert taken.swept == ()
    assert names(folder) == there | {taken.manifest.file, taken.manifest.path.name}
    assert names(folder.parent) == beside
    stopped.kill()


@SQLITE
def test_a_backup_killed_after_its_manifest_has_its_name_is_whole(
    database: Database, folder: Path, stop_at: StopAt
) -> None:
    stop_at("after(writing, 'publish')").kill()
    [found] = find_backups(folder)
    assert found.level is Level.PROVEN
    assert restore_backup(found.path, database) == found


@SQLITE
def test_a_removal_that_is_killed_is_gone_on_with(database: Database, folder: Path, stop_at: StopAt) -> None:
    old = make_backup(database, folder, terms=Terms(), now=NOW - timedelta(days=9))
    moment = "taking.keep_days = lambda: 1; retention.remove = stop"
    stop_at(moment).kill()
    [new] = find_backups(folder)
    assert old.dump_path.exists()
    taken = take_backup(database, folder, terms=Terms(), unfinished=(), now=LATER)
    assert taken.swept == (f"{old.path.name}.partial",)
    assert not old.dump_path.exists()
    assert find_backups(folder) == [taken.manifest, new]


@SQLITE
def test_what_a_killed_backup_has_left_counts_as_free(
    database: Database, folder: Path, stop_at: StopAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = stop_at(MOMENTS["at its last bytes"])
    [partial] = folder.glob("*.zst.partial")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(space.shutil, "disk_usage", lambda path: usage(0, 0, 1024**2))
    with partial.open("ab") as file:
        os.posix_fallocate(file.fileno(), 0, required_space(database))
    with pytest.raises(Refused, match="1 MiB are free"):
        space.refuse_too_little_space(database, folder)
    stopped.kill()
    space.refuse_too_little_space(database, folder)


@SQLITE
def test_a_leftover_that_cannot_be_removed_hinders_no_backup(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    (folder / "x.sql.zst.partial").touch()

    def refusing(path: Path) -> None:
        raise PermissionError

    with monkeypatch.context() as patched:
        patched.setattr(unfinished, "remove", refusing)
        assert unfinished.sweep(folder) == []
    assert take_backup(database, folder, terms=Terms(), unfinished=(), now=NOW).swept == (
        "x.sql.zst.partial",
    )
