"""The migration files on disk, each read by itself, so that a broken one does not hide the others."""

from __future__ import annotations

import pkgutil
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from django.apps import AppConfig, apps
from django.db.migrations import Migration
from django.db.migrations.loader import MIGRATIONS_MODULE_NAME, MigrationLoader
from django.utils.translation import gettext as _

from django_runbook.exceptions import RunbookError
from django_runbook.schema.history import Key


class NotAMigration(Exception):
    """The file can be imported, and Django could not migrate by it."""


class WithoutMigration(NotAMigration):
    """The file can be imported, and has no class Migration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenFile:
    """A file that Django's loader would stop at."""

    key: Key
    """The name is empty if it is the package of the app's migrations."""
    path: Path
    error: BaseException

    @property
    def line(self) -> int | None:
        """The line of this very file that fails, if it is known."""
        if isinstance(self.error, SyntaxError) and self.error.filename == str(self.path):
            return self.error.lineno
        frames = traceback.extract_tb(self.error.__traceback__)
        return next((it.lineno for it in reversed(frames) if it.filename == str(self.path)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What there is, installed app by installed app."""

    migrations: Mapping[Key, Migration]
    paths: Mapping[Key, Path]
    """Of all files, the broken ones too."""
    folders: Mapping[str, Path]
    """Of the apps that have migrations, by label."""
    broken: tuple[BrokenFile, ...]
    without: frozenset[str]
    """Apps that have no migrations, as Django sees it."""
    unseen: Mapping[str, Path]
    """Those of them with a folder of migrations that Django does not see."""

    @property
    def installed(self) -> frozenset[str]:
        """The labels of all installed apps."""
        return frozenset(it.label for it in apps.get_app_configs())

    @property
    def unreadable(self) -> frozenset[str]:
        """The apps whose package of migrations itself is broken: nothing of them is known."""
        return frozenset(it.key[0] for it in self.broken if not it.key[1])

    def names(self, app_label: str) -> list[str]:
        """The files of an app, the broken ones too, sorted."""
        return sorted(name for app, name in self.paths if app == app_label and name)

    def folder(self, app_label: str) -> Path | None:
        """Where the migrations of an installed app lie, or would lie; None if that cannot be told."""
        known = self.folders.get(app_label) or self.unseen.get(app_label)
        if known or app_label not in self.installed:
            return known
        return Path(apps.get_app_config(app_label).path) / MIGRATIONS_MODULE_NAME


def read_files() -> Files:
    """Import each file, as Django does: leftovers in __pycache__ and names with "_" or "~" are none.

    Raise nothing that a file raises; an interrupt by the operator goes through.
    """
    reading = _Reading()
    for app in apps.get_app_configs():
        reading.app(app)
    return Files(
        migrations=reading.migrations,
        paths=reading.paths,
        folders=reading.folders,
        broken=tuple(reading.broken),
        without=frozenset(reading.without),
        unseen=reading.unseen,
    )


def shown(path: Path) -> str:
    """A path as the reader would type it, from the current directory."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


@dataclass(slots=True)
class _Reading:
    """What has been read so far."""

    migrations: dict[Key, Migration] = field(default_factory=dict)
    paths: dict[Key, Path] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    broken: list[BrokenFile] = field(default_factory=list)
    without: set[str] = field(default_factory=set)
    unseen: dict[str, Path] = field(default_factory=dict)

    def app(self, app: AppConfig) -> None:
        name, explicit = MigrationLoader.migrations_module(app.label)
        own = Path(app.path) / MIGRATIONS_MODULE_NAME
        if name is None:
            self.without.add(app.label)
            return
        try:
            package = import_module(name)
        except RunbookError:
            raise
        except (Exception, SystemExit) as error:
            if not explicit and _is_about_migrations(error):
                self.skip(app.label, own)
            else:
                self.fail((app.label, ""), own / "__init__.py", error)
            return
        if _is_package(package):
            self.folders[app.label] = Path(next(iter(package.__path__)))
            self.package(app.label, name, package)
        else:
            self.skip(app.label, Path(next(iter(getattr(package, "__path__", [])), own)))

    def skip(self, app_label: str, folder: Path) -> None:
        self.without.add(app_label)
        if any(folder.glob("[0-9]*.py")):
            self.unseen[app_label] = folder

    def package(self, app_label: str, package_name: str, package: ModuleType) -> None:
        for name, path in _modules(package):
            key = app_label, name
            self.paths[key] = path
            try:
                module = import_module(f"{package_name}.{name}")
                self.migrations[key] = _migration(module, key)
            except RunbookError:
                raise
            except (Exception, SystemExit) as error:
                self.fail(key, path, error)

    def fail(self, key: Key, path: Path, error: BaseException) -> None:
        self.broken.append(BrokenFile(key=key, path=path, error=error))


def _is_about_migrations(error: BaseException) -> bool:
    """Django takes such an app as one without migrations."""
    return isinstance(error, ModuleNotFoundError) and MIGRATIONS_MODULE_NAME in (error.name or "").split(".")


def _is_package(module: ModuleType) -> bool:
    """A folder without __init__.py is a namespace, which Django ignores."""
    path = getattr(module, "__path__", None)
    return path is not None and (getattr(module, "__file__", None) is not None or isinstance(path, list))


def _modules(package: ModuleType) -> Iterator[tuple[str, Path]]:
    for finder, name, is_package in pkgutil.iter_modules(package.__path__):
        if not is_package and name[0] not in "_~":
            spec = finder.find_spec(name, None)
            yield name, Path((spec and spec.origin) or name)


def _migration(module: ModuleType, key: Key) -> Migration:
    """Make the migration of a module. Raise NotAMigration if Django would stumble over it later."""
    if not hasattr(module, "Migration"):
        raise WithoutMigration(_("it has no class named Migration"))
    migration: Migration = module.Migration(key[1], key[0])
    for name in ("dependencies", "run_before", "replaces"):
        if not all(_is_key(it) for it in getattr(migration, name)):
            raise NotAMigration(
                _("%(attribute)s is not a list of pairs of an app and a name") % {"attribute": name}
            )
    return migration


def _is_key(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(it, str) for it in value)
