"""Exports and loads, for the terminal and for programs."""

from __future__ import annotations

import time
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from rich.console import Console, Group, RenderableType
from rich.text import Text

from django_runbook.fixtures import LoadResult


class LiveObjects:
    """Shows on a terminal how many objects there are, and how fast. Leaves the terminal as it was."""

    def __init__(self, console: Console) -> None:
        self.status = console.status("") if console.is_terminal else None
        self._began = time.monotonic()
        self._done: dict[str, int] = {}

    def __enter__(self) -> Any:
        if self.status:
            self.status.start()
        return self.show

    def __exit__(self, *exc_info: object) -> None:
        if self.status:
            self.status.stop()

    def show(self, label: str, done: int) -> None:
        """Take in that so many objects of a model are done."""
        if not self.status:
            return
        self._done[label] = done
        rate = sum(self._done.values()) / max(time.monotonic() - self._began, 0.001)
        words = {"label": label, "done": f"{done:,}", "rate": f"{rate:,.0f}"}
        self.status.update(Text(_("%(label)s: %(done)s rows · %(rate)s rows/s") % words))


def loaded_to_text(result: LoadResult) -> RenderableType:
    """What was loaded, model by model."""
    lines = [f"{count:>9} {label}" for label, count in result.objects.items()]
    if result.skipped:
        text = ngettext(
            "%(count)d object of a model that the routers keep off this database was left out.",
            "%(count)d objects of models that the routers keep off this database were left out.",
            result.skipped,
        )
        lines.append(text % {"count": result.skipped})
    return Group(*(Text(line) for line in lines or [_("There was nothing to load.")]))


def loaded_to_json(result: LoadResult) -> dict[str, Any]:
    """objects: how many, by model label; skipped."""
    return {"objects": dict(result.objects), "skipped": result.skipped}
