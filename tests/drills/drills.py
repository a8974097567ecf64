"""Wagtail's history on one database, by one process after the other, each of which is cut off."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from canonical import likeness
from django.db import DatabaseError, connections
from places import ALIASES, empty_database, pointed_at
from private_server import PrivateServer
from processes import KILLED, Forks, Order, Process
from witnesses import WITNESSES

from django_runbook.databases import Database

SEED = int(os.environ.get("RUNBOOK_DRILL_SEED", "20260102"))
"""From which every moment and every delay is drawn."""
LONGEST_DELAY = 0.004
"""Seconds from letting a process go to its end: about what a DDL statement takes in memory."""
HELD, LET_GO, SENT = "held", "let go", "sent"
WAYS = [HELD, HELD, HELD, LET_GO, SENT]
"""A process is cut off while it waits at a moment; or at any time soon after it was let go before a statement
or a commit; or as soon as the server is seen to be busy with its schema statement."""
BEFORE = {HELD: "", LET_GO: ".", SENT: r"^\s*(/\*.*?\*/)?\s*(CREATE|ALTER|DROP|RENAME)\b"}
OPTIONS = {"mariadb": {"charset": "utf8mb4", "collation": "utf8mb4_unicode_ci"}}
"""One collation everywhere: a migration of Wagtail compares a column with a literal."""
CONNECTED = ("ENGINE", "HOST", "PORT", "USER", "PASSWORD", "NAME", "OPTIONS")
STANDING = (
    "django_migrations",
    "django_runbook_operation",
    "django_runbook_statement WHERE status <> 'planned'",
)
IN_FLIGHT = {
    "mysql": "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = %s AND COMMAND <> 'Sleep'",
    "postgresql": "SELECT COUNT(*) FROM pg_stat_activity WHERE pid = %s AND state = 'active'",
}

CLEAR = {"RunbookError", "DatabaseError", "InterfaceError"}
"""With which a process may end whose session was lost. The latter two have the driver's own words, to which
the engine adds what to do next; they come only from before and after all migrations."""

Place = Callable[[str], AbstractContextManager[Database]]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A history that nothing disturbed."""

    outcome: list[str]
    effects: Counter[str]
    """Each schema statement, as the server witnessed it; nothing on SQLite."""
    changing_nothing: set[str]
    """Those on MariaDB that left their table as it was."""

    def assert_same(self, drill: Drill, effects: Counter[str]) -> None:
        """Did the drill end as this, and did each schema statement take effect as often?

        One that changes nothing cannot be seen to have taken effect, and may be sent again.
        """
        assert drill.outcome == self.outcome, str(drill)
        missing, more = self.effects - effects, effects - self.effects
        told = f"{drill}: missing {missing}, more {more}"  # a text that differs is in both
        assert not missing, told
        assert set(more) <= self.changing_nothing, told


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A process that was cut off."""

    stop: dict[str, Any]
    """The moment at which it had stopped."""
    way: str
    """One of WAYS."""
    in_flight: bool = False
    """The server was still busy with its statement when it was dead."""

    def __str__(self) -> str:
        return f"{self.way} {self.stop['side']} {self.stop['sql']}"


class Drill:
    """One history; what is drawn in it comes from the seed, the name and the database, and nothing else."""

    def __init__(self, forks: Forks, database: Database, name: str = "") -> None:
        self.forks = forks
        self.database = database
        self.name = name
        self.random = random.Random(f"{SEED} {name} {database.alias}")
        self.cuts: list[Cut] = []

    def __str__(self) -> str:
        last = f", the last {self.cuts[-1]}" if self.cuts else ""
        return f"RUNBOOK_DRILL_SEED={SEED}, {self.name}, after {len(self.cuts)} cuts{last}"

    @contextmanager
    def process(self, place: dict[str, Any] | None = None, **order: Any) -> Iterator[Process]:
        there = settings_of(self.database) | (place or {})
        with self.forks.process(there, Order(**order)) as process:
            yield process

    def finish(self, **order: Any) -> dict[str, Any]:
        """A process that is not disturbed goes to the end. Return what it says there."""
        with self.process(**order) as process:
            end = process.hear_the_end()
            assert "finished" in end, f"{self}: {end}"
            return end

    def kill_to_the_end(self, reach: int, without: str = "") -> None:
        """Kill each process with SIGKILL, until one comes to the end.

        None has more than `reach` moments before it stops; more, if the one before has got nowhere.
        """
        standing, patience = self.standing, reach
        while self._kill_one(patience, without):
            before, standing = standing, self.standing
            patience = patience * 2 if standing == before else reach

    def _kill_one(self, patience: int, without: str) -> bool:
        """Return False if it came to its end instead."""
        way = self.random.choice(WAYS)
        stop_at = self.random.randint(1, patience)
        with self.process(stop_at=stop_at, before=BEFORE[way], without=without) as process:
            stop = process.hear_the_stop()
            assert "error" not in stop, f"{self}: {stop}"
            if "finished" in stop:
                return False
            self._let_go(process, way, stop["session"])
            process.kill()
            in_flight = self.in_flight_now(stop["session"])
            if process.wait() == KILLED:
                self.cuts.append(Cut(stop=stop, way=way, in_flight=in_flight))
                return True
            end = process.hear_the_end()  # it was quicker than the kill
            assert "error" not in end, f"{self}: {end}"
            return False

    def _let_go(self, process: Process, way: str, session: int | None) -> None:
        if way == HELD:
            return
        process.go_on()
        until = time.perf_counter() + self.random.uniform(0, LONGEST_DELAY)
        while time.perf_counter() < until and not (way == SENT and self.in_flight_now(session)):
            pass  # shorter than a sleep can be trusted to be

    def in_flight_now(self, session: int | None) -> bool:
        """Is the server busy with a statement of this session?"""
        query = IN_FLIGHT.get(self.database.connection.vendor)
        return bool(query and self.database.ask(query, [session])[0][0])

    def disturb(self, reach: int, disturb: Callable[[], None], **order: Any) -> dict[str, Any] | None:
        """Let something else than a kill end a process at a drawn moment, or from there on.

        Return how it ended, or None if it had come to the end of the history before. Raise AssertionError
        if it ended without a clear error, claimed to know what became of a transaction that it had lost, or
        executed a statement in another session than its first.
        """
        way = self.random.choice([HELD, LET_GO])
        order |= {"stop_at": self.random.randint(1, reach), "before": BEFORE[way]}
        with self.process(**order) as process:
            stop = process.hear_the_stop()
            if "finished" in stop:
                return None
            assert "error" not in stop, f"{self}: {stop}"
            self.cuts.append(Cut(stop=stop, way=way))
            self._let_go(process, way, stop["session"])
            disturb()
            if way == HELD:
                process.go_on()
            end = process.hear_the_end()
        if way == LET_GO and "finished" in end:  # it was quicker
            return end
        assert CLEAR & set(end.get("kinds", [])), f"{self}: {end}"
        assert "rolled back whole" not in end["error"], f"{self}: {end}"
        assert set(end["sessions"]) <= {stop["session"]}, f"{self}: {end}"
        return end

    @property
    def in_flight(self) -> int:
        """How many processes left a statement behind that the server was busy with."""
        return sum(cut.in_flight for cut in self.cuts)

    @property
    def standing(self) -> list[int]:
        """How many migrations are recorded, and how far the ledger has come with the next."""
        try:
            return [int(self.database.ask(f"SELECT COUNT(*) FROM {rows}")[0][0]) for rows in STANDING]
        except DatabaseError:  # not even the tables are there
            return []

    @property
    def outcome(self) -> list[str]:
        return likeness(self.database)


def settings_of(database: Database) -> dict[str, Any]:
    settings = database.connection.settings_dict
    return {name: settings[name] for name in CONNECTED}


def reference_of(drill: Drill, kind: str) -> Reference:
    """Go through the history in Django's way."""
    witness = WITNESSES[kind](drill.database)
    end = drill.finish(way="plain")
    return Reference(
        outcome=drill.outcome, effects=witness.effects(), changing_nothing=set(end["changing_nothing"])
    )


@contextmanager
def place_of(kind: str, start_server: Callable[[str], PrivateServer], folder: Path) -> Iterator[Database]:
    """An empty database at its usual alias, in the folder or on a server."""
    with ExitStack() as stack:
        place: dict[str, Any] = {"NAME": str(folder / "db.sqlite3")}
        if kind != "sqlite":
            place = stack.enter_context(empty_database(start_server(kind)))
        connections[ALIASES[kind]].close()
        yield stack.enter_context(pointed_at(ALIASES[kind], {**place, "OPTIONS": OPTIONS.get(kind, {})}))
