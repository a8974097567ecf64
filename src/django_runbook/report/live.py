"""What the operator sees during a run: the journal's lines, as they are written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from threading import Timer
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from rich.console import Console
from rich.status import Status
from rich.text import Text

from django_runbook.journal import Entry, Event, RunState, fold, replay
from django_runbook.report.text import duration_to_text, facts_to_text

OVERDUE_FACTOR = 3
OVERDUE_LEAST = timedelta(seconds=2)
"""A step is overdue after so many times its predicted duration, and by no less than this."""


class Live:
    """Shows entries on a console: a line for each outcome, and on a terminal a moving one for progress."""

    def __init__(self, console: Console, verbosity: int = 1) -> None:
        self.console = console
        self.verbosity = verbosity
        self._state: RunState | None = None
        self._status: Status | None = None
        self._notified = ""
        self._overdue: Timer | None = None

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
                self._begin(self._title(entry) + self._expected(entry.step))
                self._expect_an_end(entry.step)
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

    def _expected(self, key: str) -> str:
        """How long this step and all that are left will take, by the rehearsal."""
        if self._state is None or self._state.left is None or key not in self._state.predicted:
            return ""
        words = _("about %(time)s, %(left)s until the end")
        seconds = timedelta(seconds=self._state.predicted[key])
        facts = {"time": duration_to_text(seconds), "left": duration_to_text(self._state.left)}
        return f" ({words % facts})"

    def _expect_an_end(self, key: str) -> None:
        """Say so if the step takes much longer than the rehearsal has shown."""
        seconds = self._state.predicted.get(key) if self._state else None
        if seconds is None:
            return
        words = _("It takes longer than %(factor)d times the %(time)s of its rehearsal.")
        facts = {"factor": OVERDUE_FACTOR, "time": duration_to_text(timedelta(seconds=seconds))}
        wait = max(OVERDUE_FACTOR * seconds, seconds + OVERDUE_LEAST.total_seconds())
        self._overdue = Timer(wait, self.notify, [words % facts])
        self._overdue.daemon = True
        self._overdue.start()

    def stop(self) -> None:
        """Leave the terminal as it was."""
        if self._overdue:
            self._overdue.cancel()
            self._overdue = None
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
    if "rows" not in facts or not facts.get("of"):
        return facts_to_text(facts)
    return " · ".join(
        [f"{facts['rows']}/{facts['of']} ({100 * facts['rows'] // facts['of']} %)", *_pace(facts)]
    )


def _pace(facts: Mapping[str, Any]) -> Iterator[str]:
    """How fast it goes, how long it will take, or why it waits."""
    if "halted" in facts:
        yield _("held back: %(reason)s") % {"reason": facts["halted"]}
        return
    if "rate" in facts:
        yield _("%(rate)d rows/s") % {"rate": facts["rate"]}
    if "eta" in facts:
        yield _("%(time)s left") % {"time": duration_to_text(timedelta(seconds=facts["eta"]))}
    if "workers" in facts:
        yield ngettext("%(count)d worker", "%(count)d workers", facts["workers"]) % {
            "count": facts["workers"]
        }
    if "batch_size" in facts:
        yield _("batches of %(size)d") % {"size": facts["batch_size"]}
