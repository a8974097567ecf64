"""Reports, plans and findings for the terminal and for log files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from django_runbook.journal import RUN_WORDS, RunState, RunStatus, StepStatus
from django_runbook.plan import Plan
from django_runbook.planning import Stand, Standing
from django_runbook.preflight import Finding, Severity
from django_runbook.report.build import Report, StepReport
from django_runbook.schema.undo import UndoPlan
from django_runbook.ways_back import WayBack

STEP_LABELS = {
    StepStatus.WAITING: (gettext_lazy("waiting"), "dim"),
    StepStatus.IN_DOUBT: (gettext_lazy("started"), "yellow"),
    StepStatus.INTERRUPTED: (gettext_lazy("interrupted"), "yellow"),
    StepStatus.FAILED: (gettext_lazy("failed"), "bold red"),
    StepStatus.SUCCEEDED: (gettext_lazy("done"), "green"),
}
RUN_STYLES = {
    RunStatus.STARTED: "yellow",
    RunStatus.INTERRUPTED: "yellow",
    RunStatus.FAILED: "bold red",
    RunStatus.FINISHED: "green",
    RunStatus.RESTORING: "bold red",
    RunStatus.RESTORED: "cyan",
    RunStatus.UNDOING: "bold red",
    RunStatus.UNDONE: "cyan",
}
HIDDEN_FACTS = frozenset({"backup", "of", "number"})
"""Facts for programs only."""
FACT_LABELS = {
    "assumed": gettext_lazy("taken as done on the operator's word"),
    "batches": gettext_lazy("batches"),
    "blocked_by": gettext_lazy("blocked by"),
    "bytes": gettext_lazy("bytes"),
    "file": gettext_lazy("file"),
    "health": gettext_lazy("health"),
    "level": gettext_lazy("level"),
    "migration": gettext_lazy("migration"),
    "migrations": gettext_lazy("migrations"),
    "model": gettext_lazy("model"),
    "objects": gettext_lazy("objects"),
    "output": gettext_lazy("output"),
    "rows": gettext_lazy("rows"),
    "sha256": gettext_lazy("SHA-256"),
    "verified": gettext_lazy("verified"),
}
STAND_LABELS = {
    Stand.PENDING: (gettext_lazy("pending"), "yellow"),
    Stand.UNFINISHED: (gettext_lazy("unfinished run"), "bold red"),
    Stand.COMPLETED: (gettext_lazy("completed"), "green"),
    Stand.NOTHING_TO_DO: (gettext_lazy("nothing to do: its migrations are applied"), "dim"),
    Stand.BROKEN: (gettext_lazy("broken"), "bold red"),
}
SEVERITY_LABELS = {
    Severity.ERROR: (gettext_lazy("error"), "bold red"),
    Severity.WARNING: (gettext_lazy("warning"), "yellow"),
}


def plan_to_text(plan: Plan) -> RenderableType:
    """The steps of a plan with the reason for the place of each."""
    table = _table("#", _("Step"), _("Why here"), _("After a crash"))
    for number, planned in enumerate(plan.steps, start=1):
        table.add_row(str(number), Text(planned.title), Text(planned.reason), Text(planned.crash_meaning))
    return Group(
        Text(_("Plan of %(name)s") % {"name": plan.runbook}, style="bold"), table, *_crash_details(plan)
    )


def _crash_details(plan: Plan) -> Iterator[RenderableType]:
    """After a crash, by migration: those of which the same is true on one line."""
    found: dict[str, list[str]] = {}
    for planned in plan.steps:
        for name, words in planned.crash_details.items():
            found.setdefault(words, []).append(name)
    if len(found) < 2:
        return
    yield Text(_("After a crash in a migration:"), style="bold")
    for words, names in found.items():
        yield Text(f"  {words}: {', '.join(names)}")


def undo_to_text(plan: UndoPlan, state: RunState) -> RenderableType:
    """What an undo will take back, and what it will not."""
    lines = [Text(_("Undo of run %(run)s") % {"run": state.run_id}, style="bold")]
    if plan.reversals:
        lines.append(
            _line(_("Taken back, in this order: %(migrations)s") % {"migrations": ", ".join(plan.names)})
        )
    else:
        lines.append(_line(_("Nothing of it is left in the database: the run is closed.")))
    outside = [step.title for step in state.steps.values() if step.outside and step.attempts]
    if outside:
        words = _("Not taken back, because it is outside of the database: %(steps)s")
        lines.append(_line(words % {"steps": ", ".join(outside)}, "yellow"))
    return Group(*lines)


def findings_to_text(findings: Sequence[Finding]) -> RenderableType:
    """What the check before step one found."""
    if not findings:
        return Text(_("Check: nothing stands in the way."), style="green")
    table = _table(_("Check"), _("Severity"), _("Finding"))
    for finding in findings:
        label, style = SEVERITY_LABELS[finding.severity]
        table.add_row(finding.id, Text(str(label), style=style), Text(f"{finding.message}\n{finding.hint}"))
    return table


def report_to_text(report: Report) -> RenderableType:
    """A whole run: its head, its steps, and the ways out of it."""
    head = Text.assemble(
        (_("Run %(run)s") % {"run": report.run_id}, "bold"),
        f" · {report.runbook} · {report.alias} ({report.server}, {report.database['name']})\n",
        (str(RUN_WORDS[report.status]), RUN_STYLES[report.status]),
        f" · {report.opened:%Y-%m-%d %H:%M:%S} UTC",
    )
    parts: list[RenderableType] = [head, _steps(report)]
    if report.status not in (RunStatus.FINISHED, RunStatus.UNDONE, RunStatus.RESTORED):
        parts.append(ways_to_text(report.ways_back))
    parts.append(
        _line(
            _("Journal: %(path)s (%(lines)d lines, hash %(hash)s)")
            % {"path": report.journal, "lines": report.journal_lines, "hash": report.journal_hash[:16]},
            "dim",
        )
    )
    return Group(*parts)


def ways_to_text(ways: Sequence[WayBack]) -> RenderableType:
    """The ways out of a run, each with its command and what it would lose."""
    lines = [Text(_("Ways out:"), style="bold")]
    for way in ways:
        if way.open:
            lines += [
                _line("  " + f"{way.way.value}: {way.loses}"),
                _line(f"      {way.command}", "cyan"),
            ]
    return Group(*lines)


def standings_to_text(standings: Sequence[Standing]) -> RenderableType:
    """The runbooks there are, and where each stands."""
    if not standings:
        return Text(_("No runbook yet: `manage.py makerunbook` writes one from what is pending."))
    table = _table(_("Runbook"), _("Here"), _("Run"), _("About"))
    for standing in standings:
        label, style = STAND_LABELS[standing.stand]
        about = standing.error or standing.description
        table.add_row(standing.label, Text(str(label), style=style), standing.run_id, Text(about))
    return table


def facts_to_text(facts: Mapping[str, Any]) -> str:
    """Facts of a step on one line."""
    return ", ".join(
        f"{fact_label(name)} {_short(value)}" for name, value in facts.items() if name not in HIDDEN_FACTS
    )


def fact_label(name: str) -> str:
    """A fact's name in the operator's language; one of a step of the project's own as it is."""
    return str(FACT_LABELS.get(name, name))


def duration_to_text(duration: timedelta | None) -> str:
    """As in "1 h 02 min", "3 min 05 s" or "0.42 s"."""
    if duration is None:
        return ""
    seconds = duration.total_seconds()
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _steps(report: Report) -> Group:
    width = max(len(step.title) for step in report.steps)
    return Group(*(line for step in report.steps for line in _step(step, min(width, 44))))


def _step(step: StepReport, width: int) -> Iterator[Text]:
    label, style = STEP_LABELS[step.status]
    yield Text.assemble(
        f"{step.number:>3} ",
        (f"{label:<11} ", style),
        f"{step.title:<{width}}  ",
        (duration_to_text(step.duration), "dim"),
        no_wrap=True,
        overflow="ignore",
    )
    for name, value in step.facts.items():
        if name not in HIDDEN_FACTS:
            yield _line(f"      {fact_label(name)}: {_short(value)}", "dim")
    if step.error:
        yield Text(f"      {step.error}".replace("\n", "\n      "), style="red")


def _line(text: str, style: str = "") -> Text:
    """A line that may run over the edge: what is in it is to be copied."""
    return Text(text, style=style, no_wrap=True, overflow="ignore")


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False, expand=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _short(value: Any) -> str:
    match value:
        case list():
            return ", ".join(_short(item) for item in value)
        case dict():
            return ", ".join(f"{key} {_short(item)}" for key, item in value.items())
        case bool():
            return _("yes") if value else _("no")
        case int():
            return f"{value:,}".replace(",", "\N{NO-BREAK SPACE}")
        case _:
            return str(value)
