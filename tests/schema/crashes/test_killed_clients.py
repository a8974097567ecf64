"""A client that is really killed while its ALTER waits: the server finishes it, for nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from time import monotonic
from typing import Any
from unittest.mock import patch

from bench import RUN, Bench, Case
from children import start_child
from situations_of_migrations import ORGANISATION_GAINS_A_LEVEL

from django_runbook.ledger import LedgerOperation, LedgerStatement, StatementStatus

CHILD = """
    from bench import RUN, CrashSafeExecutor, make_migration
    from django.db.migrations.state import ProjectState
    from situations_of_migrations import ORGANISATION_GAINS_A_LEVEL as case

    before = make_migration("0001_setup", case.setup()).mutate_state(ProjectState())
    tested = make_migration("0002_tested", case.operations())
    CrashSafeExecutor(get_database("mariadb"), RUN).apply_migration(before, tested)
"""
PATIENCE = 30
"""Seconds until a handshake has failed."""


def test_a_resume_waits_for_what_a_killed_client_has_left_running(
    make_bench: Callable[[str, Case], Bench],
):
    bench = make_bench("mariadb", ORGANISATION_GAINS_A_LEVEL)
    whole = bench.process()
    outcome = bench.outcome
    bench.reset()
    with reader_of_services(bench.connection) as reader:
        with start_child(CHILD, bench.database) as child:
            session = wait_for_blocked_session(bench)
            child.kill()
        assert bench.database.sessions_of(RUN) == [session]
        [operation] = LedgerOperation.objects.using("mariadb").filter(done=False)
        in_doubt = LedgerStatement.objects.using("mariadb").get(
            operation_id=operation.pk, status=StatementStatus.STARTED
        )
        resumed = resume(bench, looked=reader.rollback)
    assert bench.outcome == outcome
    statements = [statement for statement in whole.done if statement != in_doubt.sql]
    assert resumed.done == statements[-len(resumed.done) :]
    assert "library_service" in in_doubt.sql
    assert in_doubt.sql not in resumed.done


@contextmanager
def reader_of_services(connection: Any) -> Iterator[Any]:
    """Another session reads the table in a transaction: an ALTER of it waits until that ends."""
    with closing(connection.get_new_connection(connection.get_connection_params())) as reader:
        reader.autocommit(False)
        with closing(reader.cursor()) as cursor:
            cursor.execute("SELECT COUNT(*) FROM library_service")
            cursor.fetchall()
        yield reader


def wait_for_blocked_session(bench: Bench) -> str:
    until = monotonic() + PATIENCE
    while monotonic() < until:
        rows = bench.database.ask(
            "SELECT ID FROM information_schema.PROCESSLIST"
            " WHERE STATE LIKE '%%metadata lock%%' AND INFO LIKE %s",
            [f"%{bench.database.mark(RUN)}%"],
        )
        if rows:
            return str(rows[0][0])
    raise AssertionError("no statement of the child waits for the table")


def resume(bench: Bench, looked: Callable[[], None]) -> Any:
    """Go on; `looked` is called when the resume has seen the orphan for the first time."""
    seen: list[list[str]] = []
    sessions_of = bench.database.sessions_of

    def look(run_id: str) -> list[str]:
        sessions = sessions_of(run_id)
        if not seen:
            looked()
        seen.append(sessions)
        return sessions

    with patch.object(bench.database, "sessions_of", look):
        resumed = bench.process()
    assert seen[0]
    assert not seen[-1]
    return resumed
