"""Apply migrations up to a named one, or all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

from django.db.migrations.operations import RunSQL
from django.db.migrations.operations.base import Operation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_runbook.databases import Database
from django_runbook.exceptions import Refused
from django_runbook.schema import scripts
from django_runbook.schema.crashes import CrashJudgement, CrashMeaning, applies_itself, judge_crash, worst
from django_runbook.schema.deferrals import Deferral, deferrals, in_words
from django_runbook.schema.executor import apply
from django_runbook.schema.history import Key
from django_runbook.schema.nature import Demand, Tightening, flat, tightenings
from django_runbook.schema.resuming import refuse_unsafe_resume
from django_runbook.schema.states import applied_migrations
from django_runbook.steps.backup import Backup
from django_runbook.steps.base import Column, Context, Place, Problem, Step, sha256_of
from django_runbook.steps.verify import NoRows, Verify

CRASH_WORDS = {
    CrashMeaning.ALL_OR_NOTHING: gettext_lazy("all or nothing"),
    CrashMeaning.RESUMABLE: gettext_lazy("goes on by statement"),
    CrashMeaning.AT_LEAST_ONCE: gettext_lazy("at least once"),
    CrashMeaning.NOT_RESUMABLE: gettext_lazy("only a restore is sure"),
}


class Migrate(Step):
    """Apply the migrations of an app up to `target`, with all they depend on; `Migrate.all()` for everything.

    `target` may be a prefix, as `migrate` accepts it. A runbook never migrates backwards.

    `defer_indexes`: of `target`, leave what builds indexes, unique constraints and foreign keys over columns
    that it adds to a later Migrate of the same, or of what follows it; until then it is not recorded. To fill
    the columns in between takes a fraction of the time.
    """

    repeatable = True
    changes_schema = True
    reversible = True
    interruptible = False

    def __init__(self, app_label: str, target: str, *, defer_indexes: bool = False) -> None:
        self.app_label = app_label
        self.target = target
        self.defer_indexes = defer_indexes

    @classmethod
    def all(cls) -> Self:
        """Apply everything that is pending."""
        return cls("", "")

    @property
    def is_all(self) -> bool:
        return not self.app_label

    def declaration(self) -> str:
        if self.is_all:
            return "Migrate.all()"
        more = ", defer_indexes=True" if self.defer_indexes else ""
        return f'Migrate("{self.app_label}", "{self.target}"{more})'

    def keys(self, place: Place) -> list[Key]:
        """The migrations that this step applies or finishes at `place`, in order.

        Raise Refused for an unknown name.
        """
        history = place.history
        if self.is_all:
            return history.pending(place.recorded)
        return history.path(history.find(self.app_label, self.target), place.recorded)

    def begins(self, place: Place) -> list[Key]:
        """Those of them of which nothing is applied at `place`."""
        return [key for key in self.keys(place) if key not in place.held]

    def holds(self, place: Place) -> list[Key]:
        """The one of its migrations that it does not finish, if any."""
        return self.keys(place)[-1:] if self.defer_indexes else []

    def fingerprint(self, place: Place) -> str:
        keys = self.keys(place)
        return sha256_of(self.declaration(), [(*key, place.history.fingerprint(key)) for key in keys])

    def problems(self, place: Place) -> Iterator[Problem]:
        if self.target == "zero":
            yield Problem(
                message=_("A runbook never migrates backwards; 'zero' would drop the tables of '%(app)s'.")
                % {"app": self.app_label}
            )
            return
        try:
            keys = self.keys(place)
        except Refused as error:
            yield Problem(message=" ".join(filter(None, (error.message, error.hint))))
            return
        if not keys and not self.is_all:
            yield from self._backwards(place)
        if keys and not place.backed_up:
            yield _needs_backup()
        yield from self._cannot_hold(place)
        yield from self._tightens_too_early(place, keys)
        if not place.rolls_back_ddl:
            yield from self._leaves_locked(place, keys)

    def after(self, place: Place) -> Place:
        return place.migrated(self.keys(place), self.holds(place))

    def reason(self, place: Place) -> str:
        keys, new = self.keys(place), self.begins(place)
        if not keys:
            return _("applied already; nothing to do")
        if self.defer_indexes:
            return self._reason_to_hold(place, keys)
        finished = [key for key in keys if key not in new]
        words = [_("builds %(what)s") % {"what": in_words(it)} for it in self._waiting(finished, place)]
        if new or not words:
            words.append(_applies(new or keys))
        return "; ".join(words)

    def _reason_to_hold(self, place: Place, keys: Sequence[Key]) -> str:
        waiting = list(self._waiting(keys[-1:], place))
        if not waiting:
            return _("%(applies)s; it builds nothing that could be deferred") % {"applies": _applies(keys)}
        return _("%(applies)s, but leaves for later: %(what)s") % {
            "applies": _applies(keys),
            "what": in_words(waiting[0]),
        }

    def _waiting(self, keys: Iterable[Key], place: Place) -> Iterator[list[Deferral]]:
        """Of each migration that has something to wait."""
        for key in keys:
            migration = place.history.migration(key)
            if found := deferrals(migration, adds_constraints=place.adds_constraints):
                yield found

    def _cannot_hold(self, place: Place) -> Iterator[Problem]:
        for key in self.holds(place):
            if applies_itself(place.history.migration(key)):
                yield Problem(
                    message=_(
                        "%(app)s.%(migration)s has an apply() of its own, so nothing of it can be deferred: "
                        "leave out defer_indexes."
                    )
                    % {"app": key[0], "migration": key[1]}
                )

    def crash_meaning(self, place: Place) -> str:
        """The worst of its migrations, and the operation that is the reason."""
        keys = self.keys(place)
        judged = [self._judge(key, place) for key in keys]
        found = worst(judged)
        if not found.operation:
            return _in_words(found)
        app_label, name = keys[judged.index(found)]
        return f"{_in_words(found)} ({app_label}.{name})"

    def crash_details(self, place: Place) -> Mapping[str, str]:
        """Of each migration."""
        return {
            f"{app_label}.{name}": _in_words(self._judge((app_label, name), place))
            for app_label, name in self.keys(place)
        }

    def _judge(self, key: Key, place: Place) -> CrashJudgement:
        return judge_crash(
            place.history.migration(key),
            rolls_back_ddl=place.rolls_back_ddl,
            atomic_ddl=place.atomic_ddl,
            in_pieces=self._is_in_pieces(key, place),
        )

    def _is_in_pieces(self, key: Key, place: Place) -> bool:
        return key in place.held or key in self.holds(place)

    def run(self, context: Context) -> Mapping[str, Any]:
        keys = self.keys(context.place)
        for key in self._missing(keys, context.database):
            refuse_unsafe_resume(
                context.place.history.migration(key),
                context.database,
                context.run_id,
                in_pieces=self._is_in_pieces(key, context.place),
            )
        held = self.holds(context.place)
        apply(
            context.database,
            keys,
            run_id=context.run_id,
            progress=context.progress,
            safe_point=context.safe_point,
            holds=held,
        )
        facts = {"migrations": [f"{app}.{name}" for app, name in keys]}
        return {**facts, "held": [f"{app}.{name}" for app, name in held]} if held else facts

    def _missing(self, keys: Iterable[Key], database: Database) -> list[Key]:
        """Those that are not recorded: an earlier attempt of this run may have applied some."""
        applied = applied_migrations(database.connection)
        return [key for key in keys if key not in applied]

    def _backwards(self, place: Place) -> Iterator[Problem]:
        history = place.history
        target = history.find(self.app_label, self.target)
        latest = history.latest(self.app_label, place.applied)
        covered = latest in place.here or any(
            isinstance(step, Migrate) and step._reaches(place, latest) for step in place.later
        )
        if latest in (None, target) or (covered and latest not in place.here):
            return
        yield Problem(
            message=_(
                "%(app)s is at %(latest)s here, which comes after %(target)s: a runbook never migrates "
                "backwards; `manage.py runbook undo` goes back."
            )
            % {"app": self.app_label, "latest": latest[1], "target": target[1]}
        )

    def _reaches(self, place: Place, key: Key | None) -> bool:
        if self.is_all:
            return True
        try:
            return key is not None and key in place.history.path(
                place.history.find(self.app_label, self.target), ()
            )
        except Refused:
            return False

    def _leaves_locked(self, place: Place, keys: Iterable[Key]) -> Iterator[Problem]:
        """The server then refuses any statement on a table that is not locked, as the ledger's are not."""
        for key in keys:
            for operation in flat(place.history.operations(key)):
                statement = locking_statement(operation)
                if statement:
                    yield Problem(
                        message=_(
                            "%(app)s.%(migration)s leaves tables locked behind '%(statement)s', so that the "
                            "run's ledger could not be written: put all up to UNLOCK TABLES into one element "
                            "of the list of RunSQL, or lock no tables."
                        )
                        % {"app": key[0], "migration": key[1], "statement": statement}
                    )

    def _tightens_too_early(self, place: Place, keys: Iterable[Key]) -> Iterator[Problem]:
        if not (place.filled or any(step.columns_filled | step.columns_read for step in place.later)):
            return
        state = place.history.state(place.recorded).clone()
        previous: Key | None = None
        for key in keys:
            migration = place.history.migration(key)
            for item in tightenings(migration, state):
                problem = _too_early(place, key, previous, item)
                if problem:
                    yield problem
                    return
            migration.mutate_state(state, preserve=False)
            previous = key


def _applies(keys: Sequence[Key]) -> str:
    names = ", ".join(f"{app}.{name}" for app, name in keys[:3])
    if len(keys) > 3:
        names = ngettext("%(names)s and %(n)d more", "%(names)s and %(n)d more", len(keys) - 3) % {
            "names": names,
            "n": len(keys) - 3,
        }
    return _("applies %(names)s") % {"names": names}


def locking_statement(operation: Operation) -> str:
    """The first statement of a RunSQL that leaves tables locked, or nothing."""
    if not isinstance(operation, RunSQL):
        return ""
    sent = (scripts.statements(text) for text in scripts.texts(operation, split=True))
    return next(filter(None, map(scripts.locking, sent)), "").strip().rstrip(";")


def _in_words(judged: CrashJudgement) -> str:
    words = str(CRASH_WORDS[judged.meaning])
    return f"{words}: {judged.operation}" if judged.operation else words


def _too_early(place: Place, key: Key, previous: Key | None, item: Tightening) -> Problem | None:
    column = (f"{item.app_label}.{item.model}", item.field)
    name = f"{column[0]}.{column[1]}"
    waiting = next((step for step in place.later if column in step.columns_filled | step.columns_read), None)
    words = {"app": key[0], "migration": key[1], "name": name, "demand": item.demand.value}
    if waiting is not None:
        text = (
            _("%(app)s.%(migration)s drops %(name)s, which a later step still reads: %(step)s.")
            if item.demand is Demand.DROP
            else _(
                "%(app)s.%(migration)s puts %(demand)s on %(name)s before the step that fills it: %(step)s."
            )
        )
        return Problem(message=text % {**words, "step": waiting.title}, migration=previous)
    if item.demand is not Demand.DROP and column in place.filled - place.verified:
        return Problem(
            message=_(
                "%(app)s.%(migration)s puts %(demand)s on %(name)s, and no Verify has looked at it since "
                "it was filled."
            )
            % words,
            missing=_verification(place, column),
        )
    return None


def _verification(place: Place, column: Column) -> Step:
    model = place.model(column[0])
    label = model._meta.label if model else column[0]
    return Verify(NoRows(label, **{f"{column[1]}__isnull": True}))


def _needs_backup() -> Problem:
    return Problem(
        message=_("It changes the database before any Backup(), so there would be no way back."),
        missing=Backup(),
    )
