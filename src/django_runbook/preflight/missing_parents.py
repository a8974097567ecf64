"""runbook.P202: what the migrations depend on is on disk."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.lost_files import (
    label,
    labels,
    nearest,
    renaming,
    search,
    under_another_name,
    was_here,
)
from django_runbook.schema.files import shown
from django_runbook.schema.graph import Graph, read_graph, words
from django_runbook.schema.history import Key


def check_missing_parents(database: Database) -> Iterator[Finding]:
    """Django refuses to load a graph that has a dependency without a file.

    Silent where another check names the cause: a folder that Django does not see, a half-applied squash.
    """
    graph = read_graph(database)
    for lost, children in graph.missing.items():
        if lost not in graph.replaced and lost[0] not in graph.files.unseen:
            message, hint = _explained(graph, lost, labels(children))
            yield Finding(
                id="runbook.P202",
                severity=Severity.ERROR,
                subject=label(lost),
                message=message,
                hint=hint,
                examples=tuple(_line(graph, child) for child in children[:5]),
            )


def _line(graph: Graph, child: Key) -> str:
    path = graph.files.paths.get(child)
    return f"{label(child)}: {shown(path)}" if path else label(child)


def _explained(graph: Graph, lost: Key, children: str) -> tuple[str, str]:
    """The fact with its likely cause, and the mend."""
    app = lost[0]
    facts = {"lost": label(lost), "app": app, "children": children}
    if app not in graph.files.installed:
        return _(
            "Migrations depend on %(lost)s, and no installed app has the label '%(app)s': %(children)s."
        ) % facts, _of_no_app(graph, app)
    if not graph.files.names(app):
        return _(
            "Migrations depend on %(lost)s, and app '%(app)s' has no migrations on this machine: "
            "%(children)s."
        ) % facts, _of_an_empty_app(graph, lost)
    fact = _("Migration %(lost)s is not on disk, and these depend on it: %(children)s.") % facts
    return f"{fact} {_record(graph, lost)} {_cause(graph, lost)}", _hint(graph, lost)


def _of_no_app(graph: Graph, app: str) -> str:
    near = difflib.get_close_matches(app, graph.files.installed, n=3)
    advice = _(
        "Put the app back into INSTALLED_APPS, or take the dependency out of the files. What is installed: "
        "`manage.py diffsettings | grep INSTALLED_APPS`"
    )
    return f"{advice}\n{_('Near it: %(names)s.') % {'names': ', '.join(near)}}" if near else advice


def _of_an_empty_app(graph: Graph, lost: Key) -> str:
    folder = graph.files.folder(lost[0])
    return _(
        "If the repository has its files, copy them; `git check-ignore -v %(path)s` shows whether git leaves "
        "them out. If it has none, on the development machine: `manage.py makemigrations %(app)s`"
    ) % {"path": shown(folder / "0001_initial.py") if folder else "", "app": lost[0]}


def _record(graph: Graph, lost: Key) -> str:
    if lost in graph.recorded:
        return _("It is recorded as applied here, so the release that applied it had the file.")
    return _("It is not recorded as applied here.")


def _cause(graph: Graph, lost: Key) -> str:
    other = under_another_name(graph, lost)
    if other and words(other[1]) == words(lost[1]):
        return _("%(other)s has its name behind another number: probably it was renumbered.") % {
            "other": label(other)
        }
    if other:
        return _("%(other)s has its number: probably it was renamed.") % {"other": label(other)}
    if was_here(graph, lost):
        return _("Python's compiled copy is still in __pycache__: the file was on this machine.")
    facts = {"names": labels(nearest(graph, lost))}
    if lost in graph.recorded:
        return (
            _("Probably it was not copied with this release, or is on another branch. Nearest: %(names)s.")
            % facts
        )
    return _("Probably it was never committed, or never copied here. Nearest: %(names)s.") % facts


def _hint(graph: Graph, lost: Key) -> str:
    other = under_another_name(graph, lost)
    lines = []
    if other:
        lines.append(
            _("If it is the same one, name ('%(app)s', '%(name)s') as the dependency instead.")
            % {"app": other[0], "name": other[1]}
        )
        if lost in graph.recorded:
            lines.append(
                _("The database knows it by the old name; in `manage.py dbshell`: %(sql)s")
                % {"sql": renaming(lost, other)}
            )
    return "\n".join([*lines, search(graph, lost)])


CHECK = Check(
    id="runbook.P202",
    title=gettext_lazy("what the migrations depend on is on disk"),
    look=check_missing_parents,
    bars_plan=True,
    suppressible=False,
)
