"""Benches on every database. Models can be imported only when Django is set up, so not at the top."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from django.test import override_settings

if TYPE_CHECKING:
    from bench import Bench, Case

    from django_runbook.databases import Database


@pytest.fixture(autouse=True)
def _no_other_app() -> Iterator[None]:
    """Executors then load no migration from files."""
    with override_settings(INSTALLED_APPS=["django_runbook"]):
        yield


@pytest.fixture
def make_bench(make_database: Callable[[str], Database]) -> Callable[[str, Case], Bench]:
    """Call it with "sqlite", "mariadb" or "postgresql" and a case."""
    from bench import Bench

    return lambda kind, case: Bench(make_database(kind), case)
