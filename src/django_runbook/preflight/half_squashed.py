"""runbook.P208: no squashed migration is applied by halves."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.lost_files import SHOWN, label, labels, record_of, search
from django_runbook.schema.graph import Graph, read_graph
from django_runbook.schema.history import Key


def check_half_squashed(database: Database) -> Iterator[Finding]:
    """Django goes by the replaced files while not all of them are applied: then they must be there.

    Silent when none or all of them are applied, or when their files are still on disk.
    """
    graph = read_graph(database)
    for squashed, migration in sorted(graph.files.migrations.items()):
        replaced = [(app, name) for app, name in migration.replaces]
        open_ones = [key for key in replaced if key not in graph.applied]
        if not open_ones:
            continue
        if squashed in graph.recorded:
            yield _of_a_recorded_one(squashed, replaced, open_ones)
        elif len(open_ones) < len(replaced):
            needed = graph.missing.keys() | open_ones
            lost = [key for key in replaced if key in needed and key not in graph.files.paths]
            if lost:
                yield _of_lost_files(graph, squashed, replaced, lost)


def _of_a_recorded_one(squashed: Key, replaced: list[Key], open_ones: list[Key]) -> Finding:
    return Finding(
        id="runbook.P208",
        severity=Severity.ERROR,
        subject=label(squashed),
        message=_(
            "%(squashed)s is recorded as applied, but of the %(count)d migrations that it replaces these are "
            "not: %(open)s. Django goes by those, takes it as not applied, and would do again what is done."
        )
        % {"squashed": label(squashed), "count": len(replaced), "open": labels(open_ones)},
        hint=_("Record them as well, in `manage.py dbshell`:\n%(sql)s") % {"sql": record_of(open_ones)},
        examples=tuple(map(label, open_ones[:SHOWN])),
    )


def _of_lost_files(graph: Graph, squashed: Key, replaced: list[Key], lost: list[Key]) -> Finding:
    app, name = replaced[-1]
    return Finding(
        id="runbook.P208",
        severity=Severity.ERROR,
        subject=label(squashed),
        message=_(
            "%(squashed)s replaces %(count)d migrations, of which only a part is applied here, and these "
            "of them are not on disk: %(lost)s. Django can apply neither them nor %(squashed)s."
        )
        % {"squashed": label(squashed), "count": len(replaced), "lost": labels(lost)},
        hint="\n".join(
            [
                _(
                    "First bring a release that still has them, and there: `manage.py migrate %(app)s "
                    "%(name)s`. Then this one."
                )
                % {"app": app, "name": name},
                search(graph, lost[0]),
            ]
        ),
        examples=tuple(map(label, lost[:SHOWN])),
    )


CHECK = Check(
    id="runbook.P208",
    title=gettext_lazy("no squashed migration is applied by halves"),
    look=check_half_squashed,
    bars_plan=True,
    suppressible=False,
)
