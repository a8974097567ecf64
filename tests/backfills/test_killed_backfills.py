"""`n = n + 1` over many rows, by one process after the other, each of which is killed.

On one's own machine a million rows and a thousand kills for each database; in continuous integration fewer.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from children import Child, start_child
from django.db import DatabaseError
from harvest import Pace, Sheaf, create_tables, make_run, rows

from django_runbook.databases import Database
from django_runbook.ledger import Ledger

SEED = int(os.environ.get("RUNBOOK_DRILL_SEED", "20260102"))
ROWS, KILLS = (30_000, 40) if os.environ.get("CI") else (1_000_000, 1000)
LONGEST_LIFE = 8
"""Batches until a process is killed, at most."""
LONGEST_DELAY = 0.003
"""Seconds from the moment that is drawn to the kill: about what a small batch takes."""
SESSION_KILLED = 7
"""Exit code of a process whose session was ended."""
FORKS = """
import traceback
from django.db import connections, Error
from harvest import AddOne, make_run, Pace
from django_runbook.backfills.worker import Worker
from django_runbook.exceptions import RunbookError

alias, size, marks, separate = {alias!r}, {size}, {marks!r}, {separate}

def say(*words):
    line = " ".join(map(str, words)) + "\\n"
    os.write(1, line.encode())  # in one piece: two processes speak

def mark(word):
    os.write(file, word)

class Marked(AddOne):
    def batch(self, rows):
        mark(b"<")
        return super().batch(rows)

def commit(self, owned, after, upto, count, _commit=Worker._commit):
    _commit(self, owned, after, upto, count)
    mark(b">")

def rows_before_cursor(self, owned, after, upto, count):
    self.task.batch(self.keys.between(after, upto))
    self._move(owned, upto, count)

Worker._commit = rows_before_cursor if separate else commit
connections.close_all()
ready()
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        file = os.open(marks, os.O_WRONLY | os.O_APPEND)
        code = 1
        try:
            database = get_database(alias)
            database.connection.ensure_connection()
            session = getattr(database.connection.connection, "thread_id", None)
            session = session() if session else getattr(database.connection.connection, "info", None)
            say("session", getattr(session, "backend_pid", session))
            make_run(database, Marked, pace=Pace(target=None, size=size)).execute()
            code = 0
        except (Error, RunbookError):
            code = {session_killed}
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    say(pid)
    say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@dataclass(kw_only=True)
class Drill:
    """Lives of a backfill that end too early."""

    database: Database
    marks: Path
    child: Child
    random: random.Random = field(default_factory=lambda: random.Random(SEED))
    cuts: int = 0

    def live(self, end: Callable[[int, str], object], code: int) -> None:
        """One life, cut by `end` soon after a moment that is drawn: in a batch, behind one, or before any."""
        moment = len(self.marks.read_bytes()) + self.random.randint(0, 2 * LONGEST_LIFE)
        pid, session = self._begin()
        until(lambda: len(self.marks.read_bytes()) >= moment)
        time.sleep(self.random.uniform(0, LONGEST_DELAY))
        end(pid, session)
        assert int(self._read()) == code, f"after {self.cuts} cuts"
        self.cuts += 1

    def _begin(self) -> tuple[int, str]:
        assert self.child.process.stdin
        self.child.process.stdin.write("live\n")
        self.child.process.stdin.flush()
        told = sorted((self._read(), self._read()))  # two processes speak, in any order
        assert told[1].startswith("session "), told
        return int(told[0]), told[1].removeprefix("session ")

    def _read(self) -> str:
        assert self.child.process.stdout
        return self.child.process.stdout.readline().strip()

    def cut_short(self, kills: int) -> None:
        """Live that often. Raise AssertionError if one life comes to its own end."""
        for number in range(kills):
            if self.database.connection.vendor != "sqlite" and number % 5 == 4:
                self.live(lambda pid, session: end_session_of(self.database, session), SESSION_KILLED)
            else:
                self.live(lambda pid, session: os.kill(pid, signal.SIGKILL), -signal.SIGKILL)

    @property
    def killed_in_batches(self) -> int:
        marks = self.marks.read_bytes()
        return marks.count(b"<") - marks.count(b">")


def until(condition: Callable[[], bool]) -> None:
    """Raise AssertionError if it does not come true in ten seconds."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.0005)


def end_session_of(database: Database, session: str) -> None:
    sql = "SELECT pg_terminate_backend(%s)" if database.connection.vendor == "postgresql" else "KILL %s"
    ask = database.ask if "SELECT" in sql else database.ask_nothing
    with suppress(DatabaseError):  # it had ended
        ask(sql, [int(session)])


@contextmanager
def drill(
    database: Database, tmp_path: Path, *, rows: int, kills: int, separate: bool = False
) -> Iterator[Drill]:
    marks = tmp_path / "marks"
    marks.write_bytes(b"")
    size = max(1, rows // kills // (LONGEST_LIFE + 2))
    code = FORKS.format(
        alias=database.alias, size=size, marks=str(marks), separate=separate, session_killed=SESSION_KILLED
    )
    with start_child(code, database) as child:
        child.wait_until_ready()
        yield Drill(database=database, marks=marks, child=child)


def fill_sheaves(database: Database, count: int) -> None:
    Ledger(database.connection).ensure()
    create_tables(database, Sheaf)
    for first in range(1, count + 1, 10_000):
        new = [Sheaf(id=pk) for pk in range(first, min(first + 10_000, count + 1))]
        rows(database).bulk_create(new)


def outcome(database: Database) -> dict[int, int]:
    """How many rows were done how often."""
    return dict(database.ask(f"SELECT n, COUNT(*) FROM {Sheaf._meta.db_table} GROUP BY n"))


def test_every_row_is_done_once_however_often_the_process_is_killed(database: Database, tmp_path: Path):
    fill_sheaves(database, ROWS)
    with drill(database, tmp_path, rows=ROWS, kills=KILLS) as lives:
        lives.cut_short(KILLS)
        assert lives.killed_in_batches >= KILLS // 10
    done = make_run(database, pace=Pace(target=0.1)).execute()
    assert outcome(database) == {1: ROWS}
    assert done["rows"] == ROWS


def test_the_drill_sees_a_cursor_that_does_not_commit_with_its_rows(database: Database, tmp_path: Path):
    fill_sheaves(database, 10_000)
    with drill(database, tmp_path, rows=10_000, kills=20, separate=True) as lives:
        lives.cut_short(20)
    make_run(database, pace=Pace(target=0.1)).execute()
    assert max(outcome(database)) > 1
