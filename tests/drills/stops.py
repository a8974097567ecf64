"""In a process that migrates: stop at one of its moments, say so, and wait to be let go, or to be killed."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django_runbook.databases import Database

WITHOUT_EFFECT = re.compile(
    r"\s*(SELECT|SHOW|PRAGMA|EXPLAIN|SAVEPOINT|RELEASE|ROLLBACK|SET SESSION TRANSACTION ISOLATION)\b",
    re.IGNORECASE,
)
"""The last is what Django begins every session with on MariaDB, before there is a lock."""


class Stops:
    """Its moments: before and after each statement that may have an effect, and each commit.

    Also of those on the ledger, of data statements, and of what `post_migrate` does.
    """

    def __init__(self, connection: Any, channel: socket.socket, stop_at: int, before: str) -> None:
        self.connection = connection
        self.channel = channel
        self.stop_at = stop_at
        """0 is never."""
        self.before = before
        """A regular expression: stop before a statement that it is found in, the first from `stop_at` on."""
        self.passed = 0
        self.sessions: set[int | None] = set()
        """Those that have executed a statement, or a commit."""
        self._commit = connection.commit
        connection.commit = self._watch_commit
        connection.execute_wrappers.append(self._watch_statement)

    def tell_waiting(self, text: str) -> None:
        """Say that another session holds the lock; nobody has to answer."""
        self.channel.send(json.dumps({"waiting": text}).encode())

    def _watch_statement(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        if WITHOUT_EFFECT.match(sql):
            return execute(sql, params, many, context)
        self._moment("before", sql)
        result = execute(sql, params, many, context)
        self.sessions.add(self.session)
        self._moment("after", sql)
        return result

    def _watch_commit(self) -> None:
        self._moment("before", "COMMIT")
        self._commit()
        self.sessions.add(self.session)
        self._moment("after", "COMMIT")

    def _moment(self, side: str, sql: str) -> None:
        self.passed += 1
        if not 0 < self.stop_at <= self.passed or not self._is_wanted(side, sql):
            return
        self.stop_at = 0
        stop = {"moment": self.passed, "side": side, "sql": sql[:500], "session": self.session}
        self.channel.send(json.dumps(stop).encode())
        if not self.channel.recv(1):  # nobody is there any more
            os._exit(1)

    def _is_wanted(self, side: str, sql: str) -> bool:
        return not self.before or (side == "before" and bool(re.search(self.before, sql)))

    @property
    def session(self) -> int | None:
        """The server's number for the session, as it was told at its beginning; None if there is none."""
        raw = self.connection.connection
        with suppress(Exception):  # the drivers differ in what they raise for a connection that is closed
            return int(raw.thread_id() if hasattr(raw, "thread_id") else raw.info.backend_pid)
        return None


class Changes:
    """Which ALTER TABLE changes its table, by what SHOW CREATE TABLE tells before and after it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.some: set[str] = set()
        self.none: set[str] = set()
        if not database.rolls_back_ddl:  # elsewhere nothing is sent twice
            database.connection.execute_wrappers.append(self._watch)

    def _watch(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        altered = re.match(r"ALTER TABLE `(\w+)`", sql)
        if not altered or params:
            return execute(sql, params, many, context)
        before = self.database.definition(altered[1])
        result = execute(sql, params, many, context)
        (self.none if self.database.definition(altered[1]) == before else self.some).add(sql)
        return result
