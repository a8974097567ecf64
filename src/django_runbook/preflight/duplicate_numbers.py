"""runbook.P205: no two migrations of an app that are still to come have the same number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.lost_files import is_of_a_package, label, labels
from django_runbook.schema.graph import Graph, number, read_graph
from django_runbook.schema.history import Key


def check_duplicate_numbers(database: Database) -> Iterator[Finding]:
    """The order is that of the dependencies; a reader takes it for that of the numbers.

    Silent when all are applied, in installed packages, in circles, and beside two last migrations.
    """
    graph = read_graph(database)
    if graph.circles:
        return
    for (app, found), keys in _by_number(graph).items():
        pending = [key for key in keys if key not in graph.applied]
        if len(keys) > 1 and pending and len(graph.leaves(app)) < 2 and not is_of_a_package(graph, app):
            in_order = sorted(keys, key=lambda key: len(graph.ancestors(key)))
            yield Finding(
                id="runbook.P205",
                severity=Severity.WARNING,
                subject=label(pending[0]),
                message=_(
                    "More than one migration of '%(app)s' has the number %(number)s. They are applied in "
                    "this order, whatever their names say: %(names)s."
                )
                % {"app": app, "number": f"{found:04}", "names": labels(in_order)},
                hint=_(
                    "Write names in full, as in `manage.py migrate %(app)s %(name)s`. A number can be "
                    "changed as long as the migration is applied nowhere."
                )
                % {"app": app, "name": pending[0][1]},
            )


def _by_number(graph: Graph) -> dict[tuple[str, int], list[Key]]:
    """The migrations in the graph, without the squashed ones, whose number is that of what they replace."""
    found: dict[tuple[str, int], list[Key]] = defaultdict(list)
    for key in sorted(graph.files.migrations):
        its = number(key[1])
        if its is not None and not graph.migration(key).replaces and key in graph.loader.graph.node_map:
            found[key[0], its].append(key)
    return found


CHECK = Check(
    id="runbook.P205",
    title=gettext_lazy("no two migrations of an app that are still to come have the same number"),
    look=check_duplicate_numbers,
)
