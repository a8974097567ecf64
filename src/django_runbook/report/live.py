"""What the operator sees during a run: the journal's lines, as they are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from rich.console import Console
from rich.status import Status
from rich.text import Text

from django_runbook.journal import Entry, Event, RunState, fold, replay
from django_runbook.report.text import duration_to_text, facts_to_text


class Live:
    """Shows entries on a console: a line for each outcome, and on a terminal a moving one for progress."""

    def __init__(self, console: Console, verbosity: int = 1) -> None:
        self.console = console
        self.verbosity = verbosity
        self._state: RunState | None = None
        self._status: Status | None = None
        self._notified = ""

    def follow(self, entries: list[Entry]) -> None:
        """Take in what was journaled before, without showing it."""
        self._state = replay(entries)

    def __call__(self, entry: Entry) -> None:
        self._state = fold(self._state, entry)
        if not self.verbosity:
            return
        match entry.event:
            case Event.OPENED | Event.RESUMED:
                self._print(Text(_("Run %(run)s") % {"run": self._state.run_id}, style="bold"))
            case Event.STARTED:
                self._begin(self._title(entry))
            case Event.PROGRESS:
                self._move(self._title(entry), entry.facts)
            case Event.SUCCEEDED | Event.FAILED | Event.INTERRUPTED:
                self._end(entry)
            case Event.FINISHED:
                self._print(Text(_("Finished: every step has succeeded."), style="green"))

    def notify(self, text: str) -> None:
        """Show a sentence that is no entry of the journal, once however often it is said."""
        if text != self._notified:
            self._print(Text(text, style="yellow"))
        self._notified = text

    def taking_back(self, **facts: Any) -> None:
        """Show how far an undo is."""
        if not self.verbosity:
            return
        place = f" ({facts['number']}/{facts['of']})" if "of" in facts else ""
        shown = {name: value for name, value in facts.items() if name not in ("number", "of")}
        self._print(Text(f"  {facts_to_text(shown)}{place}"))

    def stop(self) -> None:
        """Leave the terminal as it was."""
        if self._status:
            self._status.stop()
            self._status = None

    def _print(self, text: Text) -> None:
        self.console.print(text, soft_wrap=True)

    def _begin(self, title: str) -> None:
        if self.console.is_terminal:
            self._status = self.console.status(Text(title))
            self._status.start()
        else:
            self._print(Text(f"… {title}"))

    def _move(self, title: str, facts: Mapping[str, Any]) -> None:
        line = f"{title} · {_amount(facts)}"
        if self._status:
            self._status.update(Text(line))
        else:
            self._print(Text(f"  {line}"))

    def _end(self, entry: Entry) -> None:
        self.stop()
        if not (entry.step and self._state):
            return
        step = self._state.steps[entry.step]
        mark, style = _MARKS[entry.event]
        took = duration_to_text(step.ended - step.started if step.started and step.ended else None)
        self._print(Text.assemble((mark, style), f" {step.title}", (f"  {took}", "dim")))
        if entry.event is Event.SUCCEEDED and entry.facts and self.verbosity > 1:
            self._print(Text(f"  {facts_to_text(entry.facts)}", style="dim"))

    def _title(self, entry: Entry) -> str:
        return self._state.steps[entry.step].title if self._state else entry.step


_MARKS = {
    Event.SUCCEEDED: ("✓", "bold green"),
    Event.FAILED: ("✗", "bold red"),
    Event.INTERRUPTED: ("■", "bold yellow"),
}


def _amount(facts: Mapping[str, Any]) -> str:
    if "rows" in facts and facts.get("of"):
        return f"{facts['rows']}/{facts['of']} ({100 * facts['rows'] // facts['of']} %)"
    return facts_to_text(facts)
