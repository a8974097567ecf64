"""What will happen, in which order, and why. Pure: no database is asked, nothing is changed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from django.utils.translation import gettext as _

from django_runbook.exceptions import PlanRefused, Refused
from django_runbook.runbooks import NamedRunbook, OnFailure
from django_runbook.schema.history import Key
from django_runbook.steps import Backup, Migrate, Restart, Step, Verify
from django_runbook.steps.base import Place, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """A step at its place."""

    key: str
    """Names the step within its run: place and words, as in "2-migrate-core-0033"."""
    step: Step
    place: Place
    reason: str
    crash_meaning: str
    """What a crash in it would mean for a resume."""
    crash_details: Mapping[str, str]
    """The same for each migration of it, by name."""
    fingerprint: str

    @property
    def title(self) -> str:
        return self.step.title


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps of a run, each allowed at its place."""

    runbook: str
    """Label of the runbook, or "pending" for everything that is pending."""
    steps: tuple[PlannedStep, ...]
    covers: tuple[str, ...] = ()
    """Labels of the runbooks that are completed when this plan is."""
    on_failure: OnFailure = OnFailure.STOP
    suppressed: Mapping[str, str] = field(default_factory=dict)
    """Findings of the check that do not matter, as `Runbook.suppressed` has them."""


def make_plan(runbook: NamedRunbook, start: Place) -> Plan:
    """Walk the list from `start`. Raise PlanRefused, with the reasons and the right order, if it is wrong."""
    found = list(_problems(runbook.steps, start))
    if found:
        raise _refusal(runbook, found, right_order(runbook.steps, start))
    return Plan(
        runbook=runbook.label,
        steps=tuple(
            PlannedStep(
                key=f"{number}-{_slug(step.title)}",
                step=step,
                place=place,
                reason=step.reason(place),
                crash_meaning=step.crash_meaning(place),
                crash_details=step.crash_details(place),
                fingerprint=step.fingerprint(place),
            )
            for number, (step, place) in enumerate(_walk(runbook.steps, start), start=1)
        ),
        covers=(runbook.label,),
        on_failure=runbook.on_failure,
        suppressed=runbook.suppressed,
    )


def make_pending_plan(runbooks: Sequence[NamedRunbook], start: Place) -> Plan:
    """Everything that is pending: these runbooks by their place in the graph, then what is left over.

    One backup before all, one verification after all, restarts at the end: the code on this machine is
    the code of all of them.
    """
    ordered = _by_dependencies(sorted(runbooks, key=lambda runbook: _place_in_graph(runbook, start)))
    plan = make_plan(
        NamedRunbook(app_label="", name="pending", steps=_combined(ordered, start)),
        start,
    )
    return replace(
        plan,
        runbook="pending",
        covers=tuple(runbook.label for runbook in ordered),
        on_failure=_common([runbook.on_failure for runbook in ordered]),
        suppressed={key: reason for runbook in ordered for key, reason in runbook.suppressed.items()},
    )


def _common(wanted: Sequence[OnFailure]) -> OnFailure:
    """What all runbooks of a run want in common; otherwise it stops, and the operator decides."""
    return wanted[0] if len(set(wanted)) == 1 else OnFailure.STOP


def is_pending(runbook: NamedRunbook, start: Place, completed: frozenset[str]) -> bool:
    """Is there something left for this runbook to do on this database?

    One whose migrations are all applied, though by no run (a new database is made by plain `migrate`),
    has nothing left to do.
    """
    if runbook.label in completed:
        return False
    migrates = [step for step in runbook.steps if isinstance(step, Migrate)]
    return not migrates or any(_keys(step, start) is None or _keys(step, start) for step in migrates)


def right_order(steps: Sequence[Step], start: Place) -> list[Step] | None:
    """The same steps in an order that is allowed, with what is missing put in; None if there is none.

    Nothing is moved without need: a step that cannot stand is preceded by the one, listed or missing,
    that mends it.
    """
    waiting, ordered, place, inserted = list(steps), list[Step](), start, set[str]()
    while waiting:
        step = _next_allowed(waiting, place, inserted)
        if step is None:
            return None
        if step in waiting:
            waiting.remove(step)
        else:
            inserted.add(step.declaration())
        ordered.append(step)
        place = step.after(place)
    return _finished(ordered, place)


def _finished(steps: Sequence[Step], end: Place) -> list[Step]:
    """With what finishes each migration that is held at the `end`, behind the steps that move data."""
    missing = [(number, it) for number, step in enumerate(steps) if (it := _missing_finish(step, end))]
    if not missing:
        return list(steps)
    moves = [number for number, step in enumerate(steps) if step.changes_data]
    last = max([*moves, *(number for number, _step in missing)])
    while last + 1 < len(steps) and isinstance(steps[last + 1], Verify):
        last += 1
    finishing = {it.declaration(): it for _number, it in missing}
    return [*steps[: last + 1], *finishing.values(), *steps[last + 1 :]]


def to_source(steps: Sequence[Step]) -> str:
    """The list as it stands in a runbook."""
    return "\n".join(["steps = [", *(f"    {step.declaration()}," for step in steps), "]"])


def _walk(steps: Sequence[Step], start: Place) -> Iterator[tuple[Step, Place]]:
    place = start
    for number, step in enumerate(steps):
        here = _looking_ahead(place, steps[number + 1 :])
        yield step, here
        place = step.after(here)


def _looking_ahead(place: Place, later: Sequence[Step]) -> Place:
    coming = frozenset[Key]().union(
        *(_keys(step, place) or () for step in later if isinstance(step, Migrate))
    )
    return replace(place, later=tuple(later), coming=coming)


def _keys(step: Migrate, place: Place) -> list[Key] | None:
    """What a Migrate applies, or None if its names are wrong (which its own problems tell)."""
    try:
        return step.keys(place)
    except Refused:
        return None


def _problems(steps: Sequence[Step], start: Place) -> Iterator[tuple[int, Step, Problem]]:
    """Problems in order; after a step that cannot be placed, what depends on it is not judged."""
    place = start
    for number, step in enumerate(steps, start=1):
        here = _looking_ahead(place, steps[number:])
        problems = list(step.problems(here))
        for problem in problems:
            yield number, step, problem
        try:
            place = step.after(here)
        except Refused:
            return
    yield from _unfinished(steps, place)


def _unfinished(steps: Sequence[Step], end: Place) -> Iterator[tuple[int, Step, Problem]]:
    """Migrations that the list holds and does not finish."""
    for number, step in enumerate(steps, start=1):
        if missing := _missing_finish(step, end):
            app_label, name = end.history.find(missing.app_label, missing.target)
            text = _("It leaves a part of %(app)s.%(migration)s for later, and no later step finishes that.")
            yield number, step, Problem(message=text % {"app": app_label, "migration": name})


def _missing_finish(step: Step, end: Place) -> Migrate | None:
    """What would finish the migration that the step holds, if nothing has at the `end`."""
    if not (isinstance(step, Migrate) and step.defer_indexes):
        return None
    held = end.history.find(step.app_label, step.target) in end.held
    return Migrate(step.app_label, step.target) if held else None


def _stands(step: Step, place: Place, waiting: Sequence[Step]) -> list[Problem]:
    later = [other for other in waiting if other is not step]
    return list(step.problems(_looking_ahead(place, later)))


def _next_allowed(waiting: Sequence[Step], place: Place, inserted: set[str]) -> Step | None:
    for step in waiting:
        problems = _stands(step, place, waiting)
        if not problems:
            return step
        mending = _mending(step, problems[0], place, waiting, inserted)
        if mending:
            return mending
    return None


def _mending(
    step: Step, problem: Problem, place: Place, waiting: Sequence[Step], inserted: set[str]
) -> Step | None:
    """The step that, put first, takes the problem away: one that is listed later, else the missing one."""
    for other in waiting:
        if other is not step and not _stands(other, place, waiting):
            rest = [it for it in waiting if it is not other]
            left = _stands(step, other.after(place), rest)
            if problem.message not in [it.message for it in left]:
                return other
    missing = problem.missing or (Migrate(*problem.migration) if problem.migration else None)
    if missing is None or missing.declaration() in inserted or _stands(missing, place, waiting):
        return None
    return missing


def _refusal(
    runbook: NamedRunbook, found: Sequence[tuple[int, Step, Problem]], order: Sequence[Step] | None
) -> PlanRefused:
    reasons = "\n".join(
        _("Step %(number)d, %(step)s: %(reason)s")
        % {"number": number, "step": step.title, "reason": problem.message}
        for number, step, problem in found
    )
    message = _("The plan of '%(runbook)s' is refused; nothing was touched.\n%(reasons)s") % {
        "runbook": runbook.label.lstrip("."),
        "reasons": reasons,
    }
    if order is None:
        return PlanRefused(message, _("Mend the runbook, then run `manage.py runbook plan` again."))
    return PlanRefused(message, _("The right order is:\n%(steps)s") % {"steps": to_source(order)})


def _combined(runbooks: Sequence[NamedRunbook], start: Place) -> tuple[Step, ...]:
    listed = [step for runbook in runbooks for step in runbook.steps if not isinstance(step, Backup)]
    restarts = {step.declaration(): step for step in listed if isinstance(step, Restart)}
    working = [step for step in listed if not isinstance(step, Restart)]
    done = frozenset[Key]().union(
        *(_keys(step, start) or () for step in working if isinstance(step, Migrate))
    )
    rest = [Migrate.all()] if start.history.pending(start.applied | done) else []
    return (Backup(), *working, *rest, Verify(), *restarts.values())


def _place_in_graph(runbook: NamedRunbook, start: Place) -> tuple[int, str]:
    order = {key: number for number, key in enumerate(start.history.pending(()))}
    targets = [
        order.get(start.history.find(step.app_label, step.target), 0)
        for step in runbook.steps
        if isinstance(step, Migrate) and not step.is_all
    ]
    return max(targets, default=len(order)), runbook.label


def _by_dependencies(runbooks: Sequence[NamedRunbook]) -> list[NamedRunbook]:
    """The same order, but for runbooks that must come before others. Raise PlanRefused for a circle."""
    waiting, ordered = list(runbooks), list[NamedRunbook]()
    while waiting:
        labels = {runbook.label for runbook in waiting}
        free = next((it for it in waiting if not labels.intersection(it.dependencies)), None)
        if free is None:
            raise PlanRefused(
                _("These runbooks depend on each other in a circle: %(labels)s.")
                % {"labels": ", ".join(sorted(labels))},
                _("Take one of the `dependencies` away."),
            )
        waiting.remove(free)
        ordered.append(free)
    return ordered


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60]
