"""A time limit for everything that a block asks of a database."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import Error as AnyDatabaseError
from django.utils.translation import gettext as _

from django_runbook.exceptions import TimeLimitReached

RENEWAL = 0.8
"""The server is told anew once less than this part of what it was told last is left."""


class TimeLimit:
    """Wrapper of statements, as `execute_wrapper` takes it, that lets none go on behind the limit."""

    def __init__(
        self,
        limit: timedelta,
        tell: Callable[[float], None],
        is_reached: Callable[[AnyDatabaseError], bool],
    ) -> None:
        self._tell = tell
        """Ends a statement of the session that takes more than so many seconds."""
        self._is_reached = is_reached
        self._until = time.monotonic() + limit.total_seconds()
        self._told: float | None = None
        self._is_telling = False

    def __call__(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if self._is_telling:
            return execute(sql, params, many, context)
        self._renew()
        try:
            return execute(sql, params, many, context)
        except AnyDatabaseError as error:
            if self._is_reached(error):
                raise self._reached() from error
            raise

    def _renew(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise self._reached()
        if self._told is None or left < RENEWAL * self._told:
            self._is_telling, self._told = True, left
            try:
                self._tell(left)
            finally:
                self._is_telling = False

    def _reached(self) -> TimeLimitReached:
        return TimeLimitReached(_("Time was up."))
