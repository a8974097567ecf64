"""Django's own tests of migrations and schema editors pass with the crash-safe executor in Django's place.

Those of editors have no executor. Each call of an editor is collected instead, as an operation is, and what
was collected is sent, from the ledger where a statement has to be: Django's tests judge the collecting.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from differences import Difference, differences
from django_suite import NotFetched, fetch, run
from private_server import PrivateServer
from sampling import some_cases_in_ci

LABELS = ("migrations", "migrate_signals", "migration_test_data_persistence", "schema")
FEWEST_TESTS = 900
FEWEST_APPLIED = {"migrations": 100, "operations": 300, "calls": 800}
ENGINES = {"mariadb": "mysql", "postgresql": "postgresql"}

Databases = dict[str, dict[str, Any]]


@pytest.fixture(scope="session")
def source() -> Path:
    try:
        return fetch()
    except NotFetched as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(params=some_cases_in_ci(["sqlite", "mariadb", "postgresql"], one_in=3))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def databases(kind: str, start_server: Callable[[str], PrivateServer]) -> Databases:
    """The two that Django's tests want; they create what they need, and drop it."""
    if kind == "sqlite":
        return {alias: {"ENGINE": "django.db.backends.sqlite3"} for alias in ("default", "other")}
    server = start_server(kind)
    place = {
        "ENGINE": f"django.db.backends.{ENGINES[kind]}",
        "HOST": server.host,
        "PORT": str(server.port),
        "USER": server.user,
        "PASSWORD": server.password,
    }
    return {alias: {**place, "NAME": f"{alias}_{uuid4().hex[:8]}"} for alias in ("default", "other")}


def test_djangos_own_tests_pass_with_the_crash_safe_executor(
    kind: str, source: Path, databases: Databases, tmp_path: Path
):
    ours = run(source, "CrashSafeRunner", LABELS, databases, tmp_path)
    assert len(ours.outcomes) >= FEWEST_TESTS
    assert {what: number for what, number in ours.applied.items() if number < FEWEST_APPLIED[what]} == {}
    plain = run(source, "PlainRunner", sorted(ours.failures), databases, tmp_path)
    failures = {test: words for test, words in ours.failures.items() if test not in plain.failures}
    expected = differences(kind)
    assert {test: words for test, words in failures.items() if not explains(expected.get(test), words)} == {}
    assert set(expected) - set(failures) == set()


def explains(difference: Difference | None, words: str) -> bool:
    return difference is not None and bool(difference.words.fullmatch(words))
