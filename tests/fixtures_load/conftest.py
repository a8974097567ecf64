"""A zoo on each database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack

import pytest
from django.conf import settings as django_settings
from django.test.utils import CaptureQueriesContext, override_settings
from zoo.filling import LAST, fill, migrate

from django_runbook.databases import Database


@pytest.fixture
def zoo(database: Database) -> Callable[..., Database]:
    """Call it with a migration of `zoo` to get a database that stands there, filled, with `nomig` beside."""

    def make(migration: str = LAST, *, filled: bool = True) -> Database:
        migrate(database, migration)
        if filled:
            fill(database)
        return database

    return make


@pytest.fixture
def captured_queries() -> Callable[[Database], AbstractContextManager[CaptureQueriesContext]]:
    """Call it with a database to count the queries of a block."""
    return lambda database: CaptureQueriesContext(database.connection)


@pytest.fixture
def settings() -> Iterator[Callable[..., None]]:
    """Call it with settings to have them until the end of the test."""
    with ExitStack() as stack:
        yield lambda **values: stack.enter_context(override_settings(**values))


@pytest.fixture
def settings_of_migrations(settings: Callable[..., None]) -> Callable[..., None]:
    """Call it with modules by app to have the migrations there on disk."""
    known = getattr(django_settings, "MIGRATION_MODULES", {})
    return lambda **modules: settings(MIGRATION_MODULES={**known, **modules})
