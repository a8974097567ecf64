"""Connection poolers that give a PostgreSQL session to somebody else between two transactions.

Asking one connection twice for its server process proves nothing: an idle PgBouncer in transaction mode gives
it the same one every time [measured]. What proves it is a second connection that is served by the process of
the first while that is still open. A pool takes the session that was free last, or longest; so the first
connection asks twice, which moves it through a pool of the second kind, then the second one asks, which gets
the first one's session from a pool of the first kind. Through a pool in session mode, or without a pool,
no process ever serves two connections that are open. A pooler that cleans sessions after each transaction
(`DISCARD ALL`) is told by a setting that is gone.

Django's DISABLE_SERVER_SIDE_CURSORS is no sign of a pooler, nor is its absence one of none.
"""

from __future__ import annotations

import secrets
import socket
from contextlib import closing, suppress
from datetime import timedelta
from queue import Empty, Queue
from threading import Thread
from typing import Any

from django.utils.translation import gettext as _

MARK = "django_runbook.session"
"""A setting of the session that the server keeps and does not use."""
SESSION = f"SELECT pg_backend_pid(), current_setting('{MARK}', true)"
DIRECT_ROUNDS = 2
POOLED_ROUNDS = 12
"""Each with a new second connection, because several poolers may share a port, each with sessions of its own:
of two, the chance to miss the right one twelve times is 1 in 4,000."""
PATIENCE = timedelta(seconds=10)
"""How long a second connection may take; a pool in session mode that is used up lets it wait for minutes."""


class NoSecondConnection(Exception):
    """A second connection could not be made, or got no answer; the message says why."""


def sign_of_pooling(connection: Any, patience: timedelta = PATIENCE) -> str | None:
    """Say by which sign this connection's session is not its own between transactions, or None if it is.

    Call it outside of a transaction, which would hold the session. Raise NoSecondConnection if there is no
    way to tell.
    """
    token = secrets.token_hex(8)
    _ask(connection, f"SELECT set_config('{MARK}', '{token}', false), ''")
    own = _ask(connection, SESSION)[0]
    for _round in range(_rounds(connection, own)):
        for session, mark in (_ask(connection, SESSION), _ask(connection, SESSION)):
            if session != own:
                return _("server process %(one)s served this connection, then %(other)s did") % {
                    "one": own,
                    "other": session,
                }
            if mark != token:
                return _("a setting of the session was gone in the next transaction")
        if _ask_another(connection, patience) == own:
            return _("server process %(one)s served two connections at a time") % {"one": own}
    return None


def _rounds(connection: Any, session: int) -> int:
    """Was this connection opened by the very process that serves it? A pooler of any mode answers itself."""
    return DIRECT_ROUNDS if connection.connection.info.backend_pid == session else POOLED_ROUNDS


def _ask(connection: Any, sql: str) -> tuple[Any, Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        one, other = cursor.fetchone()
        return one, other


def _ask_another(connection: Any, patience: timedelta) -> int:
    """The server process of a second connection, which is made and closed. Raise NoSecondConnection."""
    other = connection.copy()
    options = {name: value for name, value in other.settings_dict["OPTIONS"].items() if name != "pool"}
    other.settings_dict["OPTIONS"] = {**options, "connect_timeout": round(patience.total_seconds())}
    other.inc_thread_sharing()
    answers: Queue[int | Exception] = Queue()
    Thread(target=_answer, args=(other, answers), daemon=True).start()
    try:
        answer = answers.get(timeout=patience.total_seconds())
    except Empty:
        _hang_up(other)
        raise NoSecondConnection(
            _("no answer in %(seconds)d s") % {"seconds": patience.total_seconds()}
        ) from None
    if isinstance(answer, Exception):
        raise NoSecondConnection(str(answer).strip()) from answer
    return answer


def _answer(other: Any, answers: Queue[int | Exception]) -> None:
    try:
        with closing(other):
            answers.put(_ask(other, SESSION)[0])
    except Exception as error:
        answers.put(error)


def _hang_up(other: Any) -> None:
    """Wake the thread that waits for the server by ending its connection."""
    with suppress(Exception), socket.socket(fileno=socket.dup(other.connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)
