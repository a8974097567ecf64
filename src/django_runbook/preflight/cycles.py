"""runbook.P203: no migrations depend on each other in a circle."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.lost_files import SHOWN, label
from django_runbook.schema.files import shown
from django_runbook.schema.graph import Graph, number, read_graph
from django_runbook.schema.history import Key

Edge = tuple[Key, Key]
"""A migration, and one that it needs."""


def check_cycles(database: Database) -> Iterator[Finding]:
    """Nothing in a circle can come first, so Django refuses to load the graph."""
    graph = read_graph(database)
    for circle in graph.circles:
        edges = list(zip(circle, [*circle[1:], circle[0]], strict=True))
        yield Finding(
            id="runbook.P203",
            severity=Severity.ERROR,
            subject=label(circle[0]),
            message=_("Migrations depend on each other in a circle: %(circle)s.")
            % {"circle": " → ".join(map(label, [*circle, circle[0]]))},
            hint=_hint(graph, edges),
            examples=tuple(_line(graph, edge) for edge in edges[:SHOWN]),
        )


def _line(graph: Graph, edge: Edge) -> str:
    """Which file says so."""
    child, parent = edge
    facts = {"child": label(child), "parent": label(parent)}
    attribute, owner = _written(graph, edge)
    if not owner:
        return _("%(child)s needs %(parent)s, by way of what a squashed migration replaces") % facts
    return _("%(child)s needs %(parent)s: %(attribute)s in %(path)s") % {
        **facts,
        "attribute": attribute,
        "path": shown(graph.files.paths[owner]),
    }


def _written(graph: Graph, edge: Edge) -> tuple[str, Key | None]:
    """The attribute and the migration that make one need the other; none if only by a squashed one."""
    child, parent = edge
    files = graph.files.migrations
    if child in files and parent in map(tuple, files[child].dependencies):
        return "dependencies", child
    if parent in files and child in map(tuple, files[parent].run_before):
        return "run_before", parent
    return "", None


def _hint(graph: Graph, edges: list[Edge]) -> str:
    wrong = next((edge for edge in edges if _is_suspect(graph, edge)), None)
    files = sorted(
        {shown(graph.files.paths[key]) for edge in edges for key in edge if key in graph.files.paths}
    )
    changed = _("What changed there last: `%(command)s`") % {
        "command": f"git log -p -2 -- {' '.join(map(shlex.quote, files))}"
    }
    if wrong:
        attribute, owner = _written(graph, wrong)
        [named] = set(wrong) - {owner} or {wrong[1]}
        first = _("Probably too much: ('%(app)s', '%(name)s') in the %(attribute)s of %(path)s.") % {
            "app": named[0],
            "name": named[1],
            "attribute": attribute,
            "path": shown(graph.files.paths[owner or wrong[0]]),
        }
    else:
        first = _(
            "Take one of the dependencies out. Two models that point at each other need a third migration "
            "that adds one of the foreign keys behind both."
        )
    return f"{first}\n{changed}"


def _is_suspect(graph: Graph, edge: Edge) -> bool:
    """Was the child applied without the parent, or has it an earlier number in the same app?"""
    child, parent = edge
    if not _written(graph, edge)[1]:
        return False
    if child in graph.recorded and parent not in graph.recorded:
        return True
    numbers = number(child[1]), number(parent[1])
    return child[0] == parent[0] and None not in numbers and numbers[0] <= numbers[1]  # type: ignore[operator]


CHECK = Check(
    id="runbook.P203",
    title=gettext_lazy("no migrations depend on each other in a circle"),
    look=check_cycles,
    bars_plan=True,
    suppressible=False,
)
