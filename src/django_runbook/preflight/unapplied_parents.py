"""runbook.P207: what an applied migration depends on is applied, too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.lost_files import (
    SHOWN,
    is_of_a_package,
    label,
    labels,
    record_of,
    renaming,
    under_its_old_name,
)
from django_runbook.schema.files import shown
from django_runbook.schema.graph import Graph, read_graph
from django_runbook.schema.history import Key
from django_runbook.schema.traces import traces

MID_PROJECT = "https://docs.djangoproject.com/en/stable/topics/auth/customizing/#changing-to-a-custom-user-model-mid-project"


def check_unapplied_parents(database: Database) -> Iterator[Finding]:
    """Django applies nothing, and fakes nothing, on a database whose record has such a gap."""
    graph = read_graph(database)
    for parent, children in _gaps(graph).items():
        there = traces(database.connection, graph.loader, parent) if graph.is_sound else None
        yield Finding(
            id="runbook.P207",
            severity=Severity.ERROR,
            subject=label(parent),
            message=f"{_fact(parent, children)} {_cause(graph, parent, children, there)}",
            hint=_hint(graph, parent, children, there),
            examples=tuple(_line(graph, child) for child in children[:SHOWN]),
        )


def _gaps(graph: Graph) -> Mapping[Key, list[Key]]:
    """Migrations that are not applied, and those applied that depend on them."""
    found: dict[Key, list[Key]] = defaultdict(list)
    for child in sorted(set(graph.recorded) & graph.loader.graph.node_map.keys()):
        for parent in graph.parents(child):
            if parent in graph.files.migrations and parent not in graph.applied:
                found[parent].append(child)
    return found


def _line(graph: Graph, child: Key) -> str:
    path = graph.files.paths.get(child)
    return f"{label(child)}: {shown(path)}" if path else label(child)


def _fact(parent: Key, children: list[Key]) -> str:
    return _("%(parent)s is not applied here, though what depends on it is: %(children)s.") % {
        "children": labels(children),
        "parent": label(parent),
    }


def _cause(graph: Graph, parent: Key, children: list[Key], there: bool | None) -> str:
    old = under_its_old_name(graph, parent)
    if old:
        return _("%(old)s is applied and not on disk: probably the file was renamed.") % {"old": label(old)}
    if there:
        return _(
            "What it makes is in the database: its row in django_migrations was lost, as in a partly "
            "restored dump, or was never written."
        )
    if _runs_before(graph, parent, children):
        return _("It says so itself, by its run_before.")
    if _is_latest(graph, parent, children):
        return _("The dependency says __latest__, which became another one when migrations were added.")
    if _is_user_model(parent):
        return _("AUTH_USER_MODEL was changed after the first `migrate`.")
    if there is False:
        return _(
            "What it makes is not in the database: it was added later, before one that was applied already, "
            "or that one was faked."
        )
    return _(
        "Either it was added later, before one that was applied already, or its row in django_migrations was "
        "lost."
    )


def _hint(graph: Graph, parent: Key, children: list[Key], there: bool | None) -> str:
    facts = {"parent": label(parent), "files": _files(graph, children), "sql": record_of([parent])}
    old = under_its_old_name(graph, parent)
    if old:
        return _("If it is the same one, in `manage.py dbshell`: %(sql)s") % {"sql": renaming(old, parent)}
    recorded = _("If what %(parent)s does is done here, in `manage.py dbshell`: %(sql)s") % facts
    if there:
        return recorded
    if _runs_before(graph, parent, children):
        return _("Take run_before out of %(files)s.") % {"files": _files(graph, [parent])}
    if _is_latest(graph, parent, children):
        return (
            _("In %(files)s, name the migration that was the last one then, instead of __latest__.") % facts
        )
    if _is_user_model(parent):
        return _("There is no short way: %(address)s") % {"address": MID_PROJECT}
    behind = (
        _(
            "Let %(parent)s come last in its app: its file depends on what is the last one now, and no "
            "other on it."
        )
        % facts
    )
    if any(is_of_a_package(graph, app) for app, _name in (parent, *children)):
        behind = _(
            "Install the versions of the packages that this database was upgraded with: `%(command)s`"
        ) % {"command": "python -m pip freeze"}
    return behind if there is False else f"{behind}\n{recorded}"


def _files(graph: Graph, keys: list[Key]) -> str:
    return ", ".join(shown(graph.files.paths[key]) for key in keys if key in graph.files.paths)


def _runs_before(graph: Graph, parent: Key, children: list[Key]) -> bool:
    return bool(set(children) & set(map(tuple, graph.migration(parent).run_before)))


def _is_latest(graph: Graph, parent: Key, children: list[Key]) -> bool:
    return any(
        (parent[0], "__latest__") in map(tuple, graph.migration(child).dependencies)
        for child in children
        if child in graph.files.migrations
    )


def _is_user_model(parent: Key) -> bool:
    """Is it of the app that has the users, which Django's own do not change?"""
    return parent[0] == settings.AUTH_USER_MODEL.partition(".")[0] != "auth"


CHECK = Check(
    id="runbook.P207",
    title=gettext_lazy("what an applied migration depends on is applied, too"),
    look=check_unapplied_parents,
    bars_plan=True,
    suppressible=False,
)
