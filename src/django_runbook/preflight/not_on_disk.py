"""runbook.P206: what is applied is on disk."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.lost_files import (
    SHOWN,
    label,
    labels,
    renaming,
    search,
    sql_text,
    under_another_name,
)
from django_runbook.schema.graph import Graph, number, read_graph
from django_runbook.schema.history import Key


def check_not_on_disk(database: Database) -> Iterator[Finding]:
    """A database ahead of the code, or on another branch, is not what a plan would be made for.

    Silent about what a squashed migration on disk replaces, and where another check names the cause: what
    others depend on, a gap in the record, an app with a folder that Django does not see, or that cannot be
    read.
    """
    graph = read_graph(database)
    lost = _lost_by_app(graph)
    for app in sorted(lost.keys() & graph.files.installed):
        yield from _of_app(graph, app, lost[app], database.alias)
    gone = {app: keys for app, keys in lost.items() if app not in graph.files.installed}
    if gone:
        yield _of_apps_that_are_gone(gone)


def _lost_by_app(graph: Graph) -> Mapping[str, list[Key]]:
    known = graph.files.paths.keys() | graph.replaced.keys() | graph.missing.keys()
    silent = graph.files.unreadable | graph.files.unseen.keys()
    found: dict[str, list[Key]] = defaultdict(list)
    for key in graph.recorded:
        if key not in known and key[0] not in silent:
            found[key[0]].append(key)
    return found


def _of_app(graph: Graph, app: str, lost: list[Key], alias: str) -> Iterator[Finding]:
    if not graph.files.names(app):
        yield _of_an_empty_app(graph, app, lost)
        return
    late = [key for key in lost if _is_late(graph, key)]
    renamed = {key: new for key in late if (new := under_another_name(graph, key))}
    for key, new in renamed.items():
        yield _renamed(graph, key, new)
    ahead = [key for key in late if key not in renamed]
    if ahead:
        yield _ahead(graph, app, ahead, alias)
    old = [key for key in lost if key not in late and not _is_in_a_gap(graph, under_another_name(graph, key))]
    if old:
        yield _old(app, old)


def _is_in_a_gap(graph: Graph, key: Key | None) -> bool:
    """Has something been applied that depends on it?"""
    return any(key in graph.parents(child) for child in graph.recorded)


def _is_late(graph: Graph, key: Key) -> bool:
    """Was it applied behind what is known of its app, and has it a higher number than all of that?

    Both, because what a squashed migration replaced has higher numbers, but was recorded before it.
    """
    known = graph.files.paths.keys() | graph.replaced.keys()
    mine = [other for other in graph.recorded if other[0] == key[0] and other in known]
    numbers = [found for other in mine if (found := number(other[1])) is not None]
    own = number(key[1])
    if own is not None and numbers and own <= max(numbers):
        return False
    order = {other: place for place, other in enumerate(graph.recorded)}
    return all(order[key] > order[other] for other in mine)


def _ahead(graph: Graph, app: str, lost: list[Key], alias: str) -> Finding:
    names = ", ".join(sql_text(name) for _app, name in lost)
    return Finding(
        id="runbook.P206",
        severity=Severity.ERROR,
        subject=label(lost[-1]),
        message=_(
            "Database '%(alias)s' is ahead of the code. Of app '%(app)s' it has applied migrations that are "
            "not on disk (%(count)d): %(lost)s. The last one on disk is %(last)s. The code does not know the "
            "tables as they are now."
        )
        % {
            "alias": alias,
            "app": app,
            "count": len(lost),
            "lost": labels(lost),
            "last": label((app, graph.files.names(app)[-1])),
        },
        hint="\n".join(
            [
                _("Bring the release that has them. %(search)s") % {"search": search(graph, lost[-1])},
                _(
                    "Only if the history was begun anew on purpose, in `manage.py dbshell`: DELETE FROM "
                    "django_migrations WHERE app = %(app)s AND name IN (%(names)s);"
                )
                % {"app": sql_text(app), "names": names},
            ]
        ),
        examples=tuple(map(label, lost[:SHOWN])),
    )


def _renamed(graph: Graph, key: Key, new: Key) -> Finding:
    return Finding(
        id="runbook.P206",
        severity=Severity.ERROR,
        subject=label(key),
        message=_(
            "%(old)s is applied and not on disk; %(new)s is on disk and not applied. Either the file was "
            "renamed, and the run would do again what is done, or the database was upgraded from another "
            "branch."
        )
        % {"old": label(key), "new": label(new)},
        hint="\n".join(
            [
                _("If it is the same one, in `manage.py dbshell`: %(sql)s") % {"sql": renaming(key, new)},
                search(graph, key),
            ]
        ),
    )


def _old(app: str, lost: list[Key]) -> Finding:
    return Finding(
        id="runbook.P206",
        severity=Severity.WARNING,
        subject=app,
        message=_(
            "Applied migrations of app '%(app)s' are not on disk (%(count)d): %(lost)s. Later ones are, so "
            "they were probably squashed and deleted."
        )
        % {"app": app, "count": len(lost), "lost": labels(lost)},
        hint=_(
            "Nothing, if they were deleted on purpose. `manage.py migrate --prune %(app)s` takes them out of "
            "the record."
        )
        % {"app": app},
        examples=tuple(map(label, lost[:SHOWN])),
    )


def _of_an_empty_app(graph: Graph, app: str, lost: list[Key]) -> Finding:
    is_meant = settings.MIGRATION_MODULES.get(app, "") is None
    return Finding(
        id="runbook.P206",
        severity=Severity.WARNING if is_meant else Severity.ERROR,
        subject=app,
        message=_(
            "Migrations of app '%(app)s' are applied (%(count)d), and none is on disk: %(lost)s. Its tables "
            "stay as they are, whatever its models say."
        )
        % {"app": app, "count": len(lost), "lost": labels(lost)},
        hint=_("MIGRATION_MODULES turns them off; take %(app)s out of it to have them back.") % {"app": app}
        if is_meant
        else search(graph, lost[-1]),
        examples=tuple(map(label, lost[:SHOWN])),
    )


def _of_apps_that_are_gone(lost: Mapping[str, list[Key]]) -> Finding:
    counts = Counter({app: len(keys) for app, keys in sorted(lost.items())})
    return Finding(
        id="runbook.P206",
        severity=Severity.WARNING,
        subject=", ".join(counts),
        message=_(
            "Migrations are applied of apps that are not installed: %(apps)s. Their tables may still be "
            "there, with foreign keys that stop rows from being deleted."
        )
        % {"apps": ", ".join(f"{app} ({count})" for app, count in counts.items())},
        hint=_(
            "If they should be there, put them back into INSTALLED_APPS. To see them, in `manage.py "
            "dbshell`: SELECT app, name, applied FROM django_migrations WHERE app IN (%(apps)s) ORDER BY id;"
        )
        % {"apps": ", ".join(map(sql_text, counts))},
    )


CHECK = Check(id="runbook.P206", title=gettext_lazy("what is applied is on disk"), look=check_not_on_disk)
