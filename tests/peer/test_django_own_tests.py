"""Django's own tests of migrations pass with the crash-safe executor in the place of Django's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from differences import COUNTED, differences
from django_suite import NotFetched, fetch, run
from private_server import PrivateServer

LABELS = ("migrations", "migrate_signals", "migration_test_data_persistence")
FEWEST_TESTS = 750
FEWEST_APPLIED = {"migrations": 100, "operations": 300}
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


@pytest.fixture(params=["sqlite", "mariadb", "postgresql"])
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
    expected = differences(kind)
    failures = ours.failures
    assert {test: words for test, words in failures.items() if not COUNTED.match(words)} == {}
    plain = run(source, "PlainRunner", sorted(failures), databases, tmp_path)
    assert set(failures) - set(plain.failures) == set(expected)
