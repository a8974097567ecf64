"""What a step is: a declaration that the planner can read, and one thing to do."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from django.apps.registry import Apps
from django.core.exceptions import FieldDoesNotExist, FieldError
from django.db import models
from django.db.migrations.state import ProjectState
from django.utils.translation import gettext as _

from django_runbook.databases import Database
from django_runbook.exceptions import Refused
from django_runbook.schema.history import History, Key
from django_runbook.schema.nature import names_in

Column = tuple[str, str]
"""Names one field: ("app.model" in lower case, field name)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What holds at one place in a list of steps, and what is still to come after it."""

    history: History
    alias: str
    rolls_back_ddl: bool = True
    """Capability of the database."""
    adds_constraints: bool = True
    """Capability of the database."""
    atomic_ddl: bool = True
    """Does a crash of this server leave each DDL statement done or not done?"""
    applied: frozenset[Key]
    held: frozenset[Key] = frozenset()
    """Of the applied ones, those of which indexes and constraints wait to be built; they are not recorded."""
    here: frozenset[Key] = frozenset()
    """Of the applied ones, those that an earlier step of this list applied."""
    backed_up: bool = False
    filled: frozenset[Column] = frozenset()
    verified: frozenset[Column] = frozenset()
    later: tuple[Step, ...] = ()
    coming: frozenset[Key] = frozenset()
    """Migrations that the later steps apply."""

    @property
    def state(self) -> ProjectState:
        return self.history.state(self.applied)

    @property
    def recorded(self) -> frozenset[Key]:
        """What django_migrations has by now."""
        return self.applied - self.held

    @property
    def apps(self) -> Apps:
        """Historical models that match the database at this place."""
        return self.state.apps

    def model(self, label: str) -> type[models.Model] | None:
        """The historical model `app.Model`, or None if there is none at this place."""
        app_label, dot, name = label.partition(".")
        try:
            return self.apps.get_model(app_label, name) if dot else None
        except LookupError:
            return None

    def migrated(self, keys: Iterable[Key], held: Iterable[Key] = ()) -> Place:
        """After these; those `held` among them are not finished."""
        new = frozenset(keys)
        return replace(
            self,
            applied=self.applied | new,
            held=(self.held - new) | frozenset(held),
            here=self.here | new,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a step cannot stand at its place."""

    message: str
    missing: Step | None = None
    """A step which, put before this one, would mend it."""
    migration: Key | None = None
    """A migration which, applied before this step, would mend it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The world of a running step, as one value, so that a test can be the world."""

    database: Database
    place: Place
    """What the plan says holds here."""
    run_id: str
    step_key: str
    folder: Path
    """The run folder."""
    backups: Path
    baseline: Mapping[str, Any]
    """What `Step.baseline` measured when the run was opened."""
    progress: Callable[..., None]
    """Report how far the step is, as facts; cheap enough to be called for each batch."""
    safe_point: Callable[[], None]
    """Stop here if the operator has asked for it. Raise Interrupted."""
    now: Callable[[], datetime]


class Step(ABC):
    """One line of a runbook. A step of your own subclasses this and needs nothing else of the package."""

    repeatable: ClassVar[bool] = False
    """Is a second attempt safe when the first was killed half way?"""
    reversible: ClassVar[bool] = False
    """Can what it did be taken back without a restore?"""
    changes_schema: ClassVar[bool] = False
    changes_data: ClassVar[bool] = False
    acts_outside: ClassVar[bool] = False
    """Has it effects that neither undo nor restore takes back?"""
    interruptible: ClassVar[bool] = True
    """May Ctrl-C cut it off anywhere? Otherwise it stops at its own safe points."""

    columns_filled: frozenset[Column] = frozenset()
    """Columns that it gives values to, and that a later migration may then demand."""
    columns_read: frozenset[Column] = frozenset()
    """Columns that must still be there when it runs."""

    @property
    def lasting(self) -> bool:
        """Does it change what the database holds, in a way that no undo takes back?"""
        return (self.changes_schema or self.changes_data) and not self.reversible

    @abstractmethod
    def declaration(self) -> str:
        """The Python expression that makes this step, to be pasted into a runbook."""

    @property
    def title(self) -> str:
        """A short name, the same in every language, made of the declaration's words."""
        return self.declaration()

    def fingerprint(self, place: Place) -> str:
        """SHA-256 of all that decides what the step does, so that an edit is seen on resume."""
        return sha256_of(self.declaration())

    def problems(self, place: Place) -> Iterable[Problem]:
        """Why this step cannot stand at `place`; empty if it can. Touches no database."""
        return ()

    def after(self, place: Place) -> Place:
        """What holds after this step."""
        return place

    @abstractmethod
    def reason(self, place: Place) -> str:
        """Why it stands at this place, in a sentence for the plan."""

    def crash_meaning(self, place: Place) -> str:
        """What a crash in this step would mean for a resume, in a few words for the plan."""
        return _("is done again") if self.repeatable else _("needs your word on resume")

    def crash_details(self, place: Place) -> Mapping[str, str]:
        """The same for each migration that the step applies, by name."""
        return {}

    def baseline(self, context: Context) -> Mapping[str, Any]:
        """Facts to be measured before the first step, for a comparison by this one."""
        return {}

    def look_again(self, context: Context) -> None:
        """An earlier attempt was cut off without an outcome: look whether another one is safe.

        Raise Refused if it is not, or cannot be known. Called before anything is journaled.
        """
        if not self.repeatable:
            raise Refused(
                _(
                    "Step '%(step)s' started and never reported an outcome: the process was killed. Whether "
                    "it had its effect cannot be seen from here, and it is not declared repeatable."
                )
                % {"step": self.title},
                _(
                    "Look yourself. If it did: `manage.py runbook resume --assume-done`; "
                    "if it may run again: `manage.py runbook resume --run-again`."
                ),
            )

    @abstractmethod
    def run(self, context: Context) -> Mapping[str, Any]:
        """Do it. Return facts for the journal. Raise RunbookError with a way on."""


def sha256_of(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, default=str, ensure_ascii=False).encode()).hexdigest()


def names_problems(place: Place, label: str, rows: models.Q, fields: Iterable[str] = ()) -> Iterator[Problem]:
    """Why the model, the conditions or the fields cannot be meant at `place`; names where each comes from."""
    model = place.model(label)
    if model is None:
        yield _unknown_model(label, place)
        return
    unknown = [name for name in sorted({*names_in(rows), *fields}) if not _has_field(model, name)]
    for name in unknown:
        yield _not_here(place, f"{label}.{name}", partial(_state_has_field, label=label, field=name))
    if not unknown:
        yield from _bad_lookups(model, rows)


def _bad_lookups(model: type[models.Model], rows: models.Q) -> Iterator[Problem]:
    try:
        model._base_manager.filter(rows)
    except (FieldError, ValueError, TypeError) as error:
        yield Problem(message=str(error))


def _unknown_model(label: str, place: Place) -> Problem:
    if "." not in label:
        return Problem(
            message=_("'%(label)s' does not name a model: write app_label.Model.") % {"label": label}
        )
    return _not_here(place, label, partial(_has_model, label=label))


def _not_here(place: Place, name: str, present: Callable[[ProjectState], bool]) -> Problem:
    applied = set(place.applied)
    for key in place.history.pending(applied):
        applied.add(key)
        if present(place.history.state(applied)):
            return _comes_later(name, key)
    for key in sorted(place.here):
        if present(place.history.state(place.applied - _with_followers(place, key))):
            return Problem(
                message=_("%(name)s does not exist here any more: %(app)s.%(migration)s has taken it away.")
                % {"name": name, "app": key[0], "migration": key[1]}
            )
    return Problem(message=_("%(name)s does not exist, in no migration on this machine.") % {"name": name})


def _comes_later(name: str, key: Key) -> Problem:
    return Problem(
        message=_("%(name)s does not exist here yet: %(app)s.%(migration)s creates it.")
        % {"name": name, "app": key[0], "migration": key[1]},
        migration=key,
    )


def _with_followers(place: Place, key: Key) -> frozenset[Key]:
    return frozenset(place.history.loader.graph.backwards_plan(key))


def _has_model(state: ProjectState, label: str) -> bool:
    app_label, _dot, name = label.partition(".")
    return (app_label, name.lower()) in state.models


def _state_has_field(state: ProjectState, label: str, field: str) -> bool:
    app_label, _dot, name = label.partition(".")
    model = state.models.get((app_label, name.lower()))
    return model is not None and (field in model.fields or field.removesuffix("_id") in model.fields)


def _has_field(model: type[models.Model], field: str) -> bool:
    if field == "pk":
        return True
    try:
        model._meta.get_field(field)
    except FieldDoesNotExist:
        return any(getattr(candidate, "attname", None) == field for candidate in model._meta.get_fields())
    return True
