"""Reports, plans and findings for the terminal and for log files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from django_runbook.backups import Manifest, mebibytes
from django_runbook.journal import RUN_WORDS, RunState, RunStatus, StepStatus
from django_runbook.plan import Plan
from django_runbook.planning import Stand, Standing
from django_runbook.preflight import Examination, Finding, Severity
from django_runbook.rehearsals import Certificate
from django_runbook.report.build import Report, StepReport
from django_runbook.runbooks import OnFailure
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
    "batch_size": gettext_lazy("rows of the batch"),
    "batches": gettext_lazy("batches"),
    "blocked_by": gettext_lazy("blocked by"),
    "bytes": gettext_lazy("bytes"),
    "dump_seconds": gettext_lazy("seconds of the dump"),
    "dumper": gettext_lazy("dumper"),
    "dumper_reason": gettext_lazy("why this dumper"),
    "file": gettext_lazy("file"),
    "halted": gettext_lazy("held back"),
    "health": gettext_lazy("health"),
    "left": gettext_lazy("rows left that came too late"),
    "level": gettext_lazy("level"),
    "level_reason": gettext_lazy("why not proven"),
    "migration": gettext_lazy("migration"),
    "held": gettext_lazy("left for later"),
    "migrations": gettext_lazy("migrations"),
    "model": gettext_lazy("model"),
    "not_removed": gettext_lazy("older backups that could not be removed"),
    "objects": gettext_lazy("objects"),
    "output": gettext_lazy("output"),
    "quarantined": gettext_lazy("rows set aside"),
    "removed": gettext_lazy("older backups removed"),
    "restore_seconds": gettext_lazy("seconds of the proof's restore"),
    "rounds": gettext_lazy("rounds"),
    "rows": gettext_lazy("rows"),
    "sha256": gettext_lazy("SHA-256"),
    "storage": gettext_lazy("copied to the storage"),
    "swept": gettext_lazy("leftovers removed"),
    "verified": gettext_lazy("verified"),
    "workers": gettext_lazy("workers"),
}
FAILURE_WORDS = {
    OnFailure.STOP: gettext_lazy("If a step fails, the run stops, and you choose the way back."),
    OnFailure.UNDO: gettext_lazy(
        "If a step fails, the run is undone where that loses nothing, else it stops."
    ),
    OnFailure.RESTORE: gettext_lazy(
        "If a step fails after a change, the backup is restored, which loses what others wrote meanwhile."
    ),
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
    Severity.UNCHECKED: (gettext_lazy("not checked"), "magenta"),
    Severity.WARNING: (gettext_lazy("warning"), "yellow"),
}


def plan_to_text(plan: Plan, certificate: Certificate | None = None) -> RenderableType:
    """The steps of a plan with the reason for the place of each; with their durations if it was rehearsed."""
    predicted = certificate.predicted if certificate else {}
    table = _table("#", _("Step"), _("Why here"), _("After a crash"), *([_("Takes")] if predicted else []))
    for number, planned in enumerate(plan.steps, start=1):
        row = [planned.title, planned.reason, planned.crash_meaning]
        if predicted:
            row.append(_seconds_to_text(predicted.get(planned.key)))
        table.add_row(str(number), *map(Text, row))
    return Group(
        Text(_("Plan of %(name)s") % {"name": plan.runbook}, style="bold"),
        table,
        *_crash_details(plan),
        *([_predicted(certificate)] if certificate else []),
        Text(str(FAILURE_WORDS[plan.on_failure])),
    )


def _predicted(certificate: Certificate) -> Text:
    words = _("By rehearsal %(rehearsal)s of %(at)s UTC, all steps that it held take %(time)s.")
    facts = {
        "rehearsal": certificate.id,
        "at": f"{certificate.created:%Y-%m-%d %H:%M}",
        "time": _seconds_to_text(sum(certificate.predicted.values())),
    }
    return Text(words % facts, style="cyan")


def _seconds_to_text(seconds: float | None) -> str:
    return "" if seconds is None else duration_to_text(timedelta(seconds=seconds))


def certificate_to_text(certificate: Certificate) -> RenderableType:
    """What a rehearsal has measured, step by step, and whether it passed."""
    table = _table(_("Step"), _("Takes"), _("Rows"), _("Keeps others from"), _("Rebuilt"), _("Peak on disk"))
    for step in certificate.steps:
        table.add_row(
            Text(step.title),
            _seconds_to_text(step.seconds),
            "" if step.rows is None else _short(step.rows),
            Text("\n".join(step.locks)),
            Text("\n".join(step.rebuilt)),
            mebibytes(step.peak_bytes) if step.peak_bytes else "",
        )
    facts = {
        "rehearsal": certificate.id,
        "time": _seconds_to_text(certificate.restore_seconds),
        "backup": certificate.backup,
    }
    lines = [
        Text(_("Rehearsal %(rehearsal)s") % facts, style="bold"),
        _line(_("Restored in %(time)s: %(backup)s") % facts),
    ]
    if certificate.left_out:
        left_out = _("Left out: %(steps)s") % {"steps": ", ".join(certificate.left_out)}
        lines.append(_line(left_out, "yellow"))
    verdict = (
        Text(_("Passed: every step succeeded on the copy."), style="green")
        if certificate.passed
        else Text(_("Failed: %(error)s") % {"error": certificate.error}, style="bold red")
    )
    return Group(*lines, table, verdict)


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


def restore_to_text(manifest: Manifest, lost: Sequence[str]) -> RenderableType:
    """What a restore will bring back, how long that took before, and what it will lose."""
    seconds = manifest.restore_seconds
    took = timedelta(seconds=seconds) if seconds else None
    lines = [
        _line(
            _("Backup %(path)s of %(created)s UTC")
            % {"path": manifest.dump_path, "created": f"{manifest.created:%Y-%m-%d %H:%M:%S}"}
        ),
        _line(
            _("Its restore into a scratch database took %(time)s.") % {"time": duration_to_text(took)}
            if took
            else _("Its restore was never tried: %(why)s") % {"why": manifest.level_reason}
        ),
    ]
    if manifest.grants:
        lines.append(_line(_("On another server, give the users their rights again; the manifest has them:")))
        lines += [_line(f"  {grant}") for grant in manifest.grants]
    if not lost:
        return Group(*lines)
    return Group(*lines, Text(_("It will lose:"), style="bold yellow"), *(_line(f"  {it}") for it in lost))


def examination_to_text(examination: Examination) -> RenderableType:
    """What the check before step one found, by severity, the worst first."""
    parts: list[RenderableType] = []
    for severity, (label, style) in SEVERITY_LABELS.items():
        found = [it for it in examination.findings if it.severity is severity]
        if found:
            parts += [Text(f"{label} ({len(found)})", style=style), *map(_finding, found)]
    if not parts:
        parts.append(Text(_("Check: nothing stands in the way."), style="green"))
    parts += [_suppressed(it.finding.id, it.finding.message, it.reason) for it in examination.suppressed]
    return Group(*parts)


def _suppressed(id: str, message: str, reason: str) -> Text:
    words = _("Suppressed: %(id)s, %(message)s Because: %(reason)s")
    return Text(words % {"id": id, "message": message, "reason": reason}, style="dim")


def _known_finding(finding: Mapping[str, Any]) -> Text:
    """One with which a run went on, in its report."""
    if finding["suppressed"]:
        return _suppressed(finding["id"], finding["message"], finding["suppressed"])
    label, style = SEVERITY_LABELS[Severity(finding["severity"])]
    return Text(f"{label}: {finding['id']}, {finding['message']}", style=style)


def _finding(finding: Finding) -> RenderableType:
    """The fact, then the rows that are the cause and the hint on lines of their own: it is to be copied."""
    fact = Text.assemble((f"{finding.id}  ", "bold"), finding.message)
    return Group(
        Padding(fact, (0, 0, 0, 2)),
        *(_line(f"      · {line}", "dim") for line in finding.examples),
        *(_line(f"      {line}", "cyan") for line in finding.hint.splitlines()),
    )


def report_to_text(report: Report) -> RenderableType:
    """A whole run: its head, its steps, and the ways out of it."""
    head = Text.assemble(
        (_("Run %(run)s") % {"run": report.run_id}, "bold"),
        f" · {report.runbook} · {report.alias} ({report.server}, {report.database['name']})\n",
        (str(RUN_WORDS[report.status]), RUN_STYLES[report.status]),
        f" · {report.opened:%Y-%m-%d %H:%M:%S} UTC",
    )
    if report.incomplete_since:
        words = _("The database is incomplete: a restore that began at %(began)s UTC was cut off. Repeat it.")
        head.append("\n" + words % {"began": report.incomplete_since}, style="bold red")
    parts: list[RenderableType] = [head, *map(_known_finding, report.findings), _steps(report)]
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
    """The ways out of a run: how long each takes and what it would lose, and below it its command."""
    lines = [Text(_("Ways out:"), style="bold")]
    for way in ways:
        if not way.open:
            closed = _("not open: %(why)s") % {"why": way.loses}
            lines.append(_line(f"  {way.way.value:<8} {closed}", "dim"))
            continue
        lines += [
            _line(f"  {way.way.value:<8} {way.loses}"),
            *([_line(f"           {_takes(way)}", "dim")] if way.measured else []),
            _line(f"           {way.command}", "cyan"),
        ]
    return Group(*lines)


def _takes(way: WayBack) -> str:
    if way.takes is None:
        return _("time unknown: %(why)s") % {"why": way.measured}
    return _("about %(time)s: %(why)s") % {"time": duration_to_text(way.takes), "why": way.measured}


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
        if name not in HIDDEN_FACTS and value not in ("", None):
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
        case float():
            return f"{value:.2f}"
        case _:
            return str(value)
