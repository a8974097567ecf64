"""/sante/: does the application answer, and is its database up to the code?"""

from __future__ import annotations

from functools import cache
from http import HTTPStatus

from django.db import Error, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe


@never_cache
@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """Answer 200 when all is well, 503 when the database is behind the code or does not answer.

    Only the table of migrations is read, never a model's: this view works on any schema.
    """
    try:
        pending = pending_migrations()
    except Error:
        return _answer("unreachable", "La base de données ne répond pas.")
    if pending:
        return _answer("behind", "La base de données est en retard sur le code.", pending)
    return _answer("ok", "Tout va bien.")


def pending_migrations() -> list[str]:
    """Return the migrations of the running code that the database has not had, in their order."""
    applied = MigrationRecorder(connection).applied_migrations()
    return [f"{app}.{name}" for app, name in _migrations_of_the_code() if (app, name) not in applied]


@cache
def _migrations_of_the_code() -> tuple[tuple[str, str], ...]:
    """Read once per process: a process does not see code that came after its start."""
    graph = MigrationLoader(None).graph
    plan = dict.fromkeys(node for leaf in graph.leaf_nodes() for node in graph.forwards_plan(leaf))
    return tuple(plan)


def _answer(status: str, message: str, pending: list[str] | None = None) -> JsonResponse:
    return JsonResponse(
        {"status": status, "message": message, "pending": pending or []},
        status=HTTPStatus.OK if status == "ok" else HTTPStatus.SERVICE_UNAVAILABLE,
        json_dumps_params={"ensure_ascii": False},
    )
