"""runbook.P204: each app has one last migration."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from itertools import combinations

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.lost_files import SHOWN, is_of_a_package, label, labels, reinstalling, renaming
from django_runbook.schema.files import shown
from django_runbook.schema.graph import Graph, read_graph
from django_runbook.schema.history import Key


def check_leaves(database: Database) -> Iterator[Finding]:
    """With two last migrations there are two answers to what the models are; Django refuses to migrate.

    Silent about an app with a broken file or a missing parent: what follows what is not known of it.
    """
    graph = read_graph(database)
    unknown = {it.key[0] for it in graph.files.broken} | {key[0] for key in graph.missing}
    for app in sorted(graph.files.folders.keys() - unknown):
        leaves = graph.leaves(app)
        if len(leaves) > 1:
            yield Finding(
                id="runbook.P204",
                severity=Severity.ERROR,
                subject=app,
                message=_("App '%(app)s' has more than one last migration: %(names)s.")
                % {"app": app, "names": labels(leaves)},
                hint=_hint(graph, app, leaves),
                examples=tuple(_line(graph, leaf) for leaf in leaves[:SHOWN]),
            )


def _line(graph: Graph, leaf: Key) -> str:
    """What it does, and whether it has been done."""
    stand = _("applied") if leaf in graph.applied else _("not applied")
    does = "; ".join(str(it.describe()) for it in graph.migration(leaf).operations[:3])
    return f"{label(leaf)} ({stand}): {does or _('nothing')}"


def _hint(graph: Graph, app: str, leaves: list[Key]) -> str:
    if is_of_a_package(graph, app):
        return _("A file of another version was left behind: `%(command)s`") % {"command": reinstalling(app)}
    same = next((pair for pair in combinations(leaves, 2) if _are_the_same(graph, *pair)), None)
    if same:
        return _of_one_renamed(graph, *same)
    return _(
        "On the development machine: `manage.py makemigrations --merge %(app)s`; commit what it writes, and "
        "bring it here."
    ) % {"app": app}


def _are_the_same(graph: Graph, one: Key, other: Key) -> bool:
    return _code(graph, one) == _code(graph, other)


def _code(graph: Graph, key: Key) -> list[str]:
    """The lines of a migration's file, without comments."""
    lines = graph.files.paths[key].read_text(errors="replace").splitlines()
    return [line.rstrip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _of_one_renamed(graph: Graph, one: Key, other: Key) -> str:
    folder = shlex.quote(shown(graph.files.paths[one].parent))
    text = _(
        "%(one)s and %(other)s are the same: one was renamed, and the old file stayed behind. Delete the "
        "one that git does not know: `%(command)s`"
    ) % {
        "one": label(one),
        "other": label(other),
        "command": f"git -C {folder} ls-files --others -- '*.py'",
    }
    recorded = [key for key in (one, other) if key in graph.recorded]
    if len(recorded) != 1:
        return text
    [old] = recorded
    [new] = {one, other} - {old}
    again = _("If that is %(old)s, which is recorded as applied, then in `manage.py dbshell`: %(sql)s") % {
        "old": label(old),
        "sql": renaming(old, new),
    }
    return f"{text}\n{again}"


CHECK = Check(
    id="runbook.P204",
    title=gettext_lazy("each app has one last migration"),
    look=check_leaves,
    bars_plan=True,
    suppressible=False,
)
