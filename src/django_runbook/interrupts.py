"""Ctrl-C and SIGTERM, turned into a stop at a point where the run can go on later."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any, Self

from django.utils.translation import gettext as _

from django_runbook.exceptions import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait for the end of the block, which must be short.

    For what must not be torn in two by the KeyboardInterrupt of a handler: to start a program, and to know
    that it is to be ended. Outside of the main thread no handler runs, and nothing is held.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    try:
        with ExitStack() as handlers:
            for number in SIGNALS:
                handlers.callback(signal.signal, number, signal.getsignal(number))
                signal.signal(number, lambda number, frame: arrived.append(number))
            yield
    finally:
        for late in arrived:
            signal.raise_signal(late)


class Interrupts:
    """While entered, the first signal asks for a stop; a second one cuts at once.

    Within `immediate()` already the first one cuts, by raising KeyboardInterrupt.
    """

    def __init__(self, notify: Callable[[str], None] = lambda text: None, *, go_on: str = "resume") -> None:
        self.notify = notify
        self.go_on = go_on
        """The command that goes on after a stop."""
        self.requested = False
        self._immediate = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def immediate(self, wanted: bool = True) -> Iterator[None]:
        """Let a signal cut the block off anywhere."""
        self._immediate = wanted
        try:
            self.safe_point()  # after the line above, so that no signal falls between the two
            yield
        finally:
            self._immediate = False

    def safe_point(self) -> None:
        """Raise Interrupted if a stop has been asked for."""
        if self.requested:
            raise Interrupted(
                _("Stopped, as you asked; nothing is lost."),
                _("Go on with `manage.py runbook %(command)s`.") % {"command": self.go_on},
            )

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested or self._immediate:
            self.requested = True
            raise KeyboardInterrupt
        self.requested = True
        self.notify(_("Stopping at the next safe point. Once more cuts at once, which may need a resume."))
