"""What migrating does to the process around it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from django_runbook.schema.executor import settled_heap


@pytest.fixture
def _nothing_frozen() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


@contextmanager
def failing() -> Iterator[None]:
    with pytest.raises(ZeroDivisionError):
        yield


@pytest.mark.usefixtures("_nothing_frozen")
class TestTheGarbageCollector:
    def test_it_passes_over_what_lived_before_while_migrating(self):
        with settled_heap():
            assert gc.get_freeze_count()

    def test_it_looks_at_everything_again_after_a_failure(self):
        with failing(), settled_heap():
            raise ZeroDivisionError
        assert gc.get_freeze_count() == 0

    def test_what_the_project_has_frozen_stays_frozen(self):
        gc.freeze()
        before = gc.get_freeze_count()
        with settled_heap():
            pass
        assert gc.get_freeze_count() > before / 2 > 0  # what is freed meanwhile is frozen no more
