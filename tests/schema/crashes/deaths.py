"""Watch what a process sends to a database, and let it die at any moment of it."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest.mock import patch

from django.db.backends.base.base import BaseDatabaseWrapper

WITHOUT_EFFECT = re.compile(
    r"\s*(SELECT|SHOW|PRAGMA|EXPLAIN|DESCRIBE|BEGIN|SAVEPOINT|RELEASE|SET SESSION TRANSACTION ISOLATION)\b",
    re.IGNORECASE,
)
"""Reads, marks within a transaction, and what Django begins every session with on MariaDB."""
MARK = re.compile(r"\s*/\* django-runbook .*? \*/\s*")
NOW = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.\d]*(\+00:00)?")


class Killed(BaseException):
    """Stands for a SIGKILL: nothing above may catch it."""


class Watch:
    """What one process sends, and at which of its moments it dies.

    Its moments are before the first statement with an effect, after each of them that the server keeps or
    that is the migration's own, and after each commit. No other moment differs from all of these: before a
    statement is after the one before it, since only reads lie between; and to die is to lose the session,
    which takes back an open transaction, with the rows of the ledger in it. Whatever is tried after that
    ends too.
    """

    def __init__(self, connection: BaseDatabaseWrapper, die_at: int | None = None) -> None:
        self.connection = connection
        self.die_at = die_at
        self.moments = 0
        self.dead = False
        self.last = "the beginning"
        """What had just taken place; names the moment of the death."""
        self.done: list[str] = []
        """The statements that took effect, without those on the ledger."""
        self._open: list[str] = []

    def execute(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        self._end_if_dead()
        if WITHOUT_EFFECT.match(sql):
            return execute(sql, params, many, context)
        if not self.moments:
            self._moment(self.last)
        result = execute(sql, params, many, context)
        on_the_ledger = "django_runbook_" in sql
        if not on_the_ledger:
            undoable = self._open if self.connection.in_atomic_block else self.done
            undoable.append(text_of(sql, params, context))
        if not on_the_ledger or not self.connection.in_atomic_block:
            self._moment(f"after {sql} {params or ''}")
        return result

    @contextmanager
    def commits(self) -> Iterator[None]:
        commit, rollback = self.connection.commit, self.connection.rollback

        def watched_commit() -> None:
            self._end_if_dead()
            commit()
            self.done += self._open
            self._open = []
            self._moment(f"after a commit; before it, {self.last}")

        def watched_rollback() -> None:
            self._open = []
            rollback()

        with (
            patch.object(self.connection, "commit", watched_commit),
            patch.object(self.connection, "rollback", watched_rollback),
        ):
            yield

    def _moment(self, last: str) -> None:
        self.last = last
        self.moments += 1
        if self.moments == self.die_at:
            self.dead = True
            self.connection.connection.rollback()
            self.connection.connection.close()
            self._end_if_dead()

    def _end_if_dead(self) -> None:
        if self.dead:
            raise Killed


@contextmanager
def watched(connection: BaseDatabaseWrapper, die_at: int | None = None) -> Iterator[Watch]:
    """Watch the block, which is a process of its own: when it dies, block and session end."""
    watch = Watch(connection, die_at)
    try:
        with connection.execute_wrapper(watch.execute), watch.commits():
            yield watch
    except BaseException as error:
        if not watch.dead:
            raise
        forget(error)
        with suppress(Exception):  # Django may have opened another one in vain, and a driver may mind closing
            connection.connection.close()
        connection.connection, connection.closed_in_transaction = None, False


def forget(error: BaseException | None) -> None:
    """Drop what the dead process had in memory: SQLite ends a session only with its last cursor."""
    while error:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


def text_of(sql: str, params: Any, context: Any) -> str:
    """A statement as the server sees it, without the mark that says whose it is, and when."""
    if params is not None:
        sql = AS_SENT[context["connection"].vendor](sql, params, context)
    text = MARK.sub("", sql).rstrip().removesuffix(";")
    return NOW.sub("now", text) if "django_migrations" in text else text


def mysql_text(sql: str, params: Any, context: Any) -> str:
    """With bytes as they are in the ledger, in hexadecimal."""
    mogrify = context["cursor"].mogrify
    return sql % tuple(f"x'{it.hex()}'" if isinstance(it, bytes) else mogrify("%s", [it]) for it in params)


def postgresql_text(sql: str, params: Any, context: Any) -> str:
    return str(context["connection"].ops.compose_sql(sql, params))


def sqlite_text(sql: str, params: Any, context: Any) -> str:
    return f"{sql} {params}"


AS_SENT = {"mysql": mysql_text, "postgresql": postgresql_text, "sqlite": sqlite_text}
