"""The graph of the migration files beside what a database has recorded, however little the two fit."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db import Error as AnyDatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from django_runbook.databases import Database
from django_runbook.exceptions import RunbookError
from django_runbook.schema.files import Files, read_files
from django_runbook.schema.history import Key
from django_runbook.schema.states import with_squashed

_NUMBER = re.compile(r"(\d+)_?")
_SQUASHED = re.compile(r"_squashed_(\d+)")


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Files and record, with the edges that Django draws: squashed migrations in, or what they replace."""

    files: Files
    recorded: tuple[Key, ...]
    """What django_migrations says is applied, in the order in which it was written."""
    loader: MigrationLoader
    """Its graph may have nodes without a file, and circles."""
    unresolved: frozenset[Key]
    """Dependencies on the first or latest migration of an app that has none."""

    @cached_property
    def applied(self) -> frozenset[Key]:
        """As Django sees it: with the squashed migrations all of whose `replaces` are recorded."""
        return with_squashed(self.loader, self.recorded)

    @cached_property
    def missing(self) -> Mapping[Key, list[Key]]:
        """Migrations without a file that others depend on, and those others."""
        nodes = self.loader.graph.node_map
        lost = [key for key in nodes if key not in self.files.paths and key[0] not in self.files.unreadable]
        found = {key: sorted(child.key for child in nodes[key].children) for key in lost}
        for key in self.unresolved:
            found[key] = sorted(
                child
                for child, it in self.files.migrations.items()
                if key in map(tuple, (*it.dependencies, *it.run_before))
            )
        return dict(sorted(found.items()))

    @cached_property
    def replaced(self) -> Mapping[Key, Key]:
        """By each migration that a squashed one on disk replaces, that one."""
        return {
            (app, name): key
            for key, migration in sorted(self.files.migrations.items())
            for app, name in migration.replaces
        }

    @cached_property
    def circles(self) -> list[list[Key]]:
        """One way round in each knot of migrations that need each other, a child before its parent."""
        knots = sorted(_knots(self.loader.graph.node_map, self.parents))
        return [_way_round(knot, self.parents) for knot in knots]

    @property
    def is_sound(self) -> bool:
        """Can a project state be made of it?"""
        return not (self.files.broken or self.missing or self.circles)

    def parents(self, key: Key) -> list[Key]:
        node = self.loader.graph.node_map.get(key)
        return sorted(parent.key for parent in node.parents) if node else []

    def ancestors(self, key: Key) -> frozenset[Key]:
        """All that `key` needs; itself only if it is in a circle."""
        seen: set[Key] = set()
        todo = self.parents(key)
        while todo:
            parent = todo.pop()
            if parent not in seen:
                seen.add(parent)
                todo += self.parents(parent)
        return frozenset(seen)

    def leaves(self, app_label: str) -> list[Key]:
        """The last migrations of an app: those on disk that no other of the app follows."""
        return [key for key in self.loader.graph.leaf_nodes(app_label) if key in self.files.migrations]

    def migration(self, key: Key) -> Migration:
        return self.files.migrations[key]


def read_graph(database: Database) -> Graph:
    """Read the files and the record, once in an examination. Raise nothing but what the database raises."""
    return database.once(_read)


def _read(database: Database) -> Graph:
    files = read_files()
    loader = _LenientLoader(database.connection, files)
    try:
        loader.build_graph()
    except (AnyDatabaseError, RunbookError):
        raise
    except Exception:  # noqa: S110 - what Django refuses is there to be looked at: the graph it has made
        pass
    return Graph(
        files=files,
        recorded=recorded_migrations(database.connection),
        loader=loader,
        unresolved=frozenset(loader.unresolved),
    )


def recorded_migrations(connection: BaseDatabaseWrapper) -> tuple[Key, ...]:
    """What django_migrations records, oldest row first. Empty where the table is missing."""
    recorder = MigrationRecorder(connection)
    if not recorder.has_table():
        return ()
    return tuple(recorder.migration_qs.order_by("id").values_list("app", "name"))


def number(name: str) -> int | None:
    """The number that a migration's name begins with; of a squashed one the last that it replaces."""
    match = _SQUASHED.search(name) or _NUMBER.match(name)
    return int(match[1]) if match else None


def words(name: str) -> str:
    """A migration's name without its number."""
    return _NUMBER.sub("", name, count=1)


class _LenientLoader(MigrationLoader):
    """Django's loader over files that were read one by one; goes on where an app has no migrations."""

    def __init__(self, connection: BaseDatabaseWrapper, files: Files) -> None:
        self.unresolved: set[Key] = set()
        self._files = files
        super().__init__(connection, load=False)

    def load_disk(self) -> None:
        self.disk_migrations = dict(self._files.migrations)
        self.migrated_apps = set(self._files.folders)
        self.unmigrated_apps = set(self._files.without)

    def check_key(self, key: Any, current_app: str) -> Any:
        try:
            return super().check_key(key, current_app)
        except ValueError:
            self.unresolved.add((key[0], key[1]))
            return None


def _knots(nodes: Collection[Key], parents: Any) -> Iterator[list[Key]]:
    """Groups of migrations each of which needs all the others, by Kosaraju's two passes."""
    children: dict[Key, list[Key]] = {}
    for key in nodes:
        for parent in parents(key):
            children.setdefault(parent, []).append(key)
    seen: set[Key] = set()
    order = [key for start in sorted(nodes) for key in _walk(start, parents, seen)]
    seen = set()
    for start in reversed(order):
        knot = list(_walk(start, lambda key: children.get(key, []), seen))
        if len(knot) > 1 or start in parents(start):
            yield sorted(knot)


def _walk(start: Key, neighbours: Any, seen: set[Key]) -> Iterator[Key]:
    """Yield what can be reached and was not seen, each behind its neighbours."""
    stack = [(start, False)]
    while stack:
        key, is_done = stack.pop()
        if is_done:
            yield key
        elif key not in seen:
            seen.add(key)
            stack.append((key, True))
            stack += [(other, False) for other in neighbours(key)]


def _way_round(knot: list[Key], parents: Any) -> list[Key]:
    """The shortest way from the first migration of a knot back to itself."""
    first = knot[0]
    ways = [[first]]
    seen: set[Key] = set()
    for way in ways:
        for parent in parents(way[-1]):
            if parent == first:
                return way
            if parent in knot and parent not in seen:
                seen.add(parent)
                ways.append([*way, parent])
    return knot
