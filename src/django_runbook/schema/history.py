"""The migrations on disk, and the project states they lead to. Reads the database's record once, at most."""

from __future__ import annotations

import difflib
import hashlib
import inspect
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Self, cast

from django.db import Error as AnyDatabaseError
from django.db import migrations
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.exceptions import (
    AmbiguityError,
    BadMigrationError,
    CircularDependencyError,
    InconsistentMigrationHistory,
    NodeNotFoundError,
)
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.utils.translation import gettext as _

from django_runbook.exceptions import Refused, RunbookError
from django_runbook.schema.states import state_at

Key = tuple[str, str]
"""Names one migration: (app label, name)."""


class History:
    """The migration graph on disk, with what of it is applied on one database."""

    def __init__(self, loader: MigrationLoader) -> None:
        self.loader = loader
        self.applied: frozenset[Key] = frozenset(loader.applied_migrations)
        self._states: dict[frozenset[Key], ProjectState] = {}

    @classmethod
    def load(cls, connection: BaseDatabaseWrapper) -> Self:
        """Read the graph. Raise Refused, with the cause, if Django could not migrate by it."""
        try:
            loader = MigrationLoader(connection)
            loader.check_consistent_history(connection)
        except (AnyDatabaseError, RunbookError):
            raise
        except (NodeNotFoundError, CircularDependencyError, BadMigrationError) as error:
            raise Refused(
                _("The migration files do not form a graph: %(error)s") % {"error": error}, _see_check()
            ) from error
        except InconsistentMigrationHistory as error:
            raise Refused(str(error), _see_check()) from error
        except Exception as error:  # whatever a file raises when it is imported
            raise Refused(
                _("The migration files cannot be loaded: %(kind)s: %(error)s")
                % {"kind": type(error).__name__, "error": error},
                _see_check(),
            ) from error
        _refuse_conflicts(loader)
        return cls(loader)

    def find(self, app_label: str, prefix: str) -> Key:
        """The one migration whose name begins with `prefix`, as `migrate` accepts it. Raise Refused."""
        if app_label not in self.loader.migrated_apps:
            raise Refused(
                _("No installed app with migrations has the label '%(app)s'.") % {"app": app_label},
                _did_you_mean(app_label, self.loader.migrated_apps),
            )
        if (app_label, prefix) in self.loader.graph.nodes:
            return app_label, prefix
        try:
            migration = self.loader.get_migration_by_prefix(app_label, prefix)
        except AmbiguityError as error:
            names = [name for app, name in self.loader.disk_migrations if app == app_label]
            raise Refused(
                _("More than one migration of '%(app)s' begins with '%(prefix)s'.")
                % {"app": app_label, "prefix": prefix},
                _("Write more of the name: %(names)s.")
                % {"names": ", ".join(sorted(name for name in names if name.startswith(prefix)))},
            ) from error
        except KeyError as error:
            names = [name for app, name in self.loader.disk_migrations if app == app_label]
            raise Refused(
                _("No migration of '%(app)s' begins with '%(prefix)s'.")
                % {"app": app_label, "prefix": prefix},
                _did_you_mean(prefix, names) or _last_is(app_label, names),
            ) from error
        return app_label, migration.name

    def path(self, target: Key, applied: Collection[Key]) -> list[Key]:
        """What `target` needs and is not applied, in order, `target` last."""
        return [key for key in self.loader.graph.forwards_plan(target) if key not in applied]

    def pending(self, applied: Collection[Key]) -> list[Key]:
        """All that is not applied, in an order in which it can be."""
        plan: dict[Key, None] = {}
        for leaf in sorted(self.loader.graph.leaf_nodes()):
            plan.update(dict.fromkeys(self.path(leaf, applied)))
        return list(plan)

    def latest(self, app_label: str, applied: Collection[Key]) -> Key | None:
        """The applied migration of this app that no other applied one of it follows."""
        mine = {key for key in applied if key[0] == app_label and key in self.loader.graph.nodes}
        parents = {
            parent.key
            for key in mine
            for parent in self.loader.graph.node_map[key].parents
            if parent.key in mine
        }
        return min(mine - parents, default=None)

    def migration(self, key: Key) -> migrations.Migration:
        return cast("migrations.Migration", self.loader.graph.nodes[key])

    def operations(self, key: Key) -> Sequence[Operation]:
        return self.migration(key).operations

    def state(self, applied: Collection[Key]) -> ProjectState:
        """The models of exactly these migrations. Not to be changed by the caller."""
        key = frozenset(applied)
        if key not in self._states:
            self._states[key] = state_at(self.loader, key)
        return self._states[key]

    def fingerprint(self, key: Key) -> str:
        """SHA-256 of the migration's source file, so that an edit is seen."""
        source = inspect.getsourcefile(type(self.migration(key)))
        return hashlib.sha256(Path(source).read_bytes() if source else repr(key).encode()).hexdigest()


def _see_check() -> str:
    return _("`manage.py runbook check` names each cause, and how to mend it.")


def _refuse_conflicts(loader: MigrationLoader) -> None:
    conflicts = loader.detect_conflicts()
    for app_label, names in sorted(conflicts.items()):
        raise Refused(
            _("App '%(app)s' has more than one last migration: %(names)s.")
            % {"app": app_label, "names": ", ".join(sorted(names))},
            _see_check(),
        )


def _did_you_mean(word: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return _("Near it: %(names)s.") % {"names": ", ".join(near)} if near else ""


def _last_is(app_label: str, names: Collection[str]) -> str:
    if not names:
        return _("The app has no migrations.")
    return _("The last one on this machine is %(name)s.") % {"name": max(names)}
