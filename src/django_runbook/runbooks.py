"""Runbooks, and where they are found: APP/runbooks/NAME.py."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from django.apps import AppConfig, apps
from django.utils.translation import gettext as _

from django_runbook.exceptions import Refused
from django_runbook.steps.base import Step


class OnFailure(StrEnum):
    """What a run does when one of its steps fails."""

    STOP = "stop"
    """Nothing: the operator chooses among the ways back."""
    UNDO = "undo"
    """Take back what the run did, if that loses nothing; otherwise stop."""
    RESTORE = "restore"
    """Restore the run's backup if the run has changed the database; loses what others wrote meanwhile."""


class Runbook:
    """An upgrade as a list of steps. What you read is what runs."""

    steps: ClassVar[Sequence[Step]] = ()
    suppressed: ClassVar[Mapping[str, str]] = {}
    """Findings of the check that do not matter here, by id ("runbook.P501") or by id and what they are about
    ("runbook.P501:core_service"), each with the reason, which is journaled."""
    on_failure: ClassVar[str] = OnFailure.STOP
    """What happens when a step fails: "stop", "undo" or "restore". A kill or Ctrl-C is no failure."""
    dependencies: ClassVar[Sequence[str]] = ()
    """Labels ("app_label.name") of runbooks that must be completed on a database before this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRunbook:
    """A runbook with the names it is called by."""

    app_label: str
    name: str
    """The module's name."""
    steps: tuple[Step, ...]
    dependencies: tuple[str, ...] = ()
    on_failure: OnFailure = OnFailure.STOP
    suppressed: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    """First line of the class's docstring."""

    @property
    def label(self) -> str:
        """The name that no other runbook has: app_label.name."""
        return f"{self.app_label}.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenRunbook:
    """A file in a runbooks folder that gives no runbook, and why."""

    app_label: str
    name: str
    error: Refused


def discover() -> tuple[list[NamedRunbook], list[BrokenRunbook]]:
    """Import every runbook of the installed apps. A broken one does not hide the others."""
    found, broken = [], []
    for app_config, name in _modules():
        try:
            found.append(_load(app_config, name))
        except Refused as error:
            broken.append(BrokenRunbook(app_label=app_config.label, name=name, error=error))
    return found, broken


def load_runbook(name: str) -> NamedRunbook:
    """The runbook called `name` or `app_label.name`. Raise Refused if there is none, or more than one."""
    places = [
        (config, module) for config, module in _modules() if name in (module, f"{config.label}.{module}")
    ]
    if not places:
        raise _unknown(name)
    if len(places) > 1:
        raise Refused(
            _("More than one runbook is called '%(name)s'.") % {"name": name},
            _("Say which: %(labels)s.")
            % {"labels": ", ".join(sorted(f"{config.label}.{module}" for config, module in places))},
        )
    return _load(*places[0])


def _modules() -> Iterator[tuple[AppConfig, str]]:
    for app_config in apps.get_app_configs():
        folder = Path(app_config.path) / "runbooks"
        for module in pkgutil.iter_modules([str(folder)]):
            if not module.name.startswith("_"):
                yield app_config, module.name


def _load(app_config: AppConfig, name: str) -> NamedRunbook:
    module_name = f"{app_config.name}.runbooks.{name}"
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise _does_not_import(app_config, name, error) from error
    classes = [
        member
        for _name, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Runbook) and member.__module__ == module_name
    ]
    path = f"{app_config.label}/runbooks/{name}.py"
    if len(classes) != 1:
        raise Refused(
            _("%(path)s must have one Runbook class, and has %(count)d: %(names)s.")
            % {"path": path, "count": len(classes), "names": ", ".join(it.__name__ for it in classes) or "-"},
            _("Write one class in each file; the file's name is the runbook's name."),
        )
    return NamedRunbook(
        app_label=app_config.label,
        name=name,
        steps=_steps(classes[0], path),
        dependencies=tuple(classes[0].dependencies),
        on_failure=_on_failure(classes[0], path),
        suppressed=dict(classes[0].suppressed),
        description=(inspect.getdoc(classes[0]) or "").partition("\n")[0],
    )


def _steps(runbook: type[Runbook], path: str) -> tuple[Step, ...]:
    if not runbook.steps:
        raise Refused(
            _("Runbook %(name)s in %(path)s has no steps.") % {"name": runbook.__name__, "path": path},
            _("Give it a list `steps = [Backup(), Migrate.all(), Verify()]`."),
        )
    for step in runbook.steps:
        if not isinstance(step, Step):
            raise Refused(
                _("Runbook %(name)s in %(path)s has something in `steps` that is not a step: %(step)r.")
                % {"name": runbook.__name__, "path": path, "step": step},
                _("Write the step with its parentheses, as in `Backup()`."),
            )
    return tuple(runbook.steps)


def _on_failure(runbook: type[Runbook], path: str) -> OnFailure:
    try:
        return OnFailure(runbook.on_failure)
    except ValueError as error:
        raise Refused(
            _("Runbook %(name)s in %(path)s has on_failure = %(value)r.")
            % {"name": runbook.__name__, "path": path, "value": runbook.on_failure},
            _("It can be %(choices)s.") % {"choices": ", ".join(f'"{it}"' for it in OnFailure)},
        ) from error


def _does_not_import(app_config: AppConfig, name: str, error: Exception) -> Refused:
    frames = traceback.extract_tb(error.__traceback__)
    where = next((frame for frame in reversed(frames) if frame.filename.endswith(f"{name}.py")), frames[-1])
    line = error.lineno if isinstance(error, SyntaxError) else where.lineno
    return Refused(
        _("Runbook %(label)s does not import: %(kind)s: %(error)s (%(path)s, line %(line)s).")
        % {
            "label": f"{app_config.label}.{name}",
            "kind": type(error).__name__,
            "error": error.msg if isinstance(error, SyntaxError) else error,
            "path": f"{app_config.label}/runbooks/{name}.py",
            "line": line,
        },
        _("Mend the file, then run this command again."),
    )


def _unknown(name: str) -> Refused:
    known = sorted({word for config, module in _modules() for word in (module, f"{config.label}.{module}")})
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        hint = _("Near it: %(names)s.") % {"names": ", ".join(near)}
    elif known:
        hint = _("`manage.py runbook list` shows the runbooks there are.")
    else:
        hint = _("There is none yet: `manage.py makerunbook` writes one from what is pending.")
    return Refused(_("There is no runbook called '%(name)s'.") % {"name": name}, hint)
