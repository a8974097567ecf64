"""Where a migration file that is not on this machine may be, and under which name."""

from __future__ import annotations

import difflib
import shlex
from bisect import bisect
from collections.abc import Collection, Iterable
from importlib.metadata import packages_distributions

from django.apps import apps
from django.utils.translation import gettext as _

from django_runbook.schema import is_third_party
from django_runbook.schema.files import shown
from django_runbook.schema.graph import Graph, number, words
from django_runbook.schema.history import Key

SHOWN = 5
"""How many names a message or its examples give."""
NEAR = 5
"""How far a file is renumbered when others came before it."""
NO_WORDS = ("", "initial")
"""What tells nothing about a migration, behind its number."""


def label(key: Key) -> str:
    """A migration as in "core.0033_sous_direction"."""
    return ".".join(key)


def labels(keys: Collection[Key]) -> str:
    """The first few of some migrations, for a message."""
    return ", ".join([*map(label, list(keys)[:SHOWN]), *(["…"] if len(keys) > SHOWN else [])])


def sql_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def record_of(keys: Iterable[Key]) -> str:
    """Statements that record migrations as applied."""
    return "\n".join(
        "INSERT INTO django_migrations (app, name, applied) "
        f"VALUES ({sql_text(app)}, {sql_text(name)}, CURRENT_TIMESTAMP);"
        for app, name in keys
    )


def renaming(old: Key, new: Key) -> str:
    """A statement that records a migration under its new name."""
    return (
        f"UPDATE django_migrations SET name = {sql_text(new[1])} "
        f"WHERE app = {sql_text(old[0])} AND name = {sql_text(old[1])};"
    )


def under_another_name(graph: Graph, lost: Key) -> Key | None:
    """A file that may be the lost one: its words behind a number near it, or its number before other words.

    Not one that depends on it, nor one that was applied beside it.
    """
    app, name = lost
    others = [
        key
        for key in graph.files.migrations
        if key[0] == app
        and lost not in graph.ancestors(key)
        and not {key, lost} <= set(graph.recorded)
        and not graph.migration(key).replaces
    ]
    renumbered = [key for key in others if _has_its_words(key[1], name)]
    renamed = [key for key in others if number(key[1]) == number(name) is not None]
    return min(renumbered or renamed, default=None)


def _has_its_words(name: str, lost: str) -> bool:
    """Far from it, the same words are another change of the same thing: Django names it alike."""
    numbers = number(name), number(lost)
    is_near = numbers[0] is None or numbers[1] is None or abs(numbers[0] - numbers[1]) <= NEAR
    return is_near and words(name) == words(lost) and words(lost) not in NO_WORDS


def under_its_old_name(graph: Graph, key: Key) -> Key | None:
    """What the record has instead of a file that is not applied, if that was probably renamed."""
    lost = [it for it in graph.recorded if it[0] == key[0] and it not in graph.files.paths]
    return next(
        (it for it in lost if it not in graph.replaced and under_another_name(graph, it) == key), None
    )


def nearest(graph: Graph, lost: Key) -> list[Key]:
    """The files of the app with much the same name, or else those around its place."""
    names = graph.files.names(lost[0])
    place = bisect(names, lost[1])
    around = names[max(place - 2, 0) : place + 2]
    return [(lost[0], it) for it in difflib.get_close_matches(lost[1], names, n=3, cutoff=0.8) or around]


def was_here(graph: Graph, lost: Key) -> bool:
    """Is what Python compiled of it still on this machine?"""
    folder = graph.files.folder(lost[0])
    return folder is not None and any(folder.glob(f"__pycache__/{lost[1]}.*.pyc"))


def is_of_a_package(graph: Graph, app_label: str) -> bool:
    """Does the app come with an installed package, where the project must not write?"""
    folder = graph.files.folder(app_label)
    return folder is not None and is_third_party(folder)


def package_of(app_label: str) -> str:
    """The name by which pip knows what an app comes with."""
    module = apps.get_app_config(app_label).name.partition(".")[0]
    return next(iter(packages_distributions().get(module, [])), module)


def reinstalling(app_label: str) -> str:
    return f"python -m pip install --force-reinstall --no-deps {package_of(app_label)}"


def search(graph: Graph, lost: Key) -> str:
    """A sentence with the command that tells where the file went."""
    app, name = lost
    folder = graph.files.folder(app)
    if folder is None:
        command = f"git log --all --oneline -- {shlex.quote(f'*/migrations/{name}.py')}"
    elif is_third_party(folder):
        return _(
            "It comes with a package: `%(command)s` shows which version is installed; install the one of "
            "the release."
        ) % {"command": f"python -m pip show {package_of(app)}"}
    else:
        where = shlex.quote(shown(folder))
        command = f"git -C {where} log --all --name-status --diff-filter=ADR -- {_patterns(name)}"
    return _("Where it was added, renamed or deleted, on any branch: `%(command)s`") % {"command": command}


def _patterns(name: str) -> str:
    """Pathspecs of the file, of those with its number, and of those with its words."""
    found = [f"{name}.py"]
    if number(name) is not None and words(name) != name:
        found.append(f"{name.removesuffix(words(name))}*")
    if words(name) not in (*NO_WORDS, name):
        found.append(f"*_{words(name)}.py")
    return " ".join(map(shlex.quote, found))
