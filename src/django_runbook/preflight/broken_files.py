"""runbook.P201: every migration file can be imported."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from django.db.migrations.loader import MigrationLoader
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.lost_files import label, reinstalling
from django_runbook.programs import redact
from django_runbook.schema import is_third_party
from django_runbook.schema.files import BrokenFile, NotAMigration, WithoutMigration, shown
from django_runbook.schema.graph import read_graph

CONFLICT_MARKS = ("<<<<<<<", "=======", ">>>>>>>")
"""Begin the lines that git leaves in a file whose merge was not finished."""


def check_broken_files(database: Database) -> Iterator[Finding]:
    """One file that cannot be read, of whatever app, keeps Django from migrating at all."""
    for broken in read_graph(database).files.broken:
        name = label(broken.key).strip(".")
        yield Finding(
            id="runbook.P201",
            severity=Severity.ERROR,
            subject=name,
            message=_(
                "The migrations of '%(name)s' cannot be read: %(place)s: %(error)s. Until they can, Django "
                "applies no migration of any app."
            )
            % {"name": name, "place": _place(broken), "error": redact(_words(broken), database.secrets)},
            hint=_hint(broken),
        )


def _place(broken: BrokenFile) -> str:
    path = shown(broken.path)
    return (
        _("%(path)s, line %(line)d") % {"path": path, "line": broken.line}
        if broken.line is not None
        else path
    )


def _words(broken: BrokenFile) -> str:
    error = broken.error
    if isinstance(error, NotAMigration):
        return str(error)
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text}".strip().rstrip(".")


def _hint(broken: BrokenFile) -> str:
    path = shlex.quote(shown(broken.path))
    if broken.path.suffix == ".pyc":
        return _(
            "It is a compiled file without its source, left behind by an older release: `rm %(path)s`"
        ) % {"path": path}
    if is_third_party(broken.path):
        return _(
            "It comes with a package. What does not fit together: `python -m pip check`. To have its files "
            "again: `%(command)s`"
        ) % {"command": reinstalling(broken.key[0])}
    if _is_empty(broken):
        return _(
            "The file is empty, as after a copy that broke off. Copy it again; in a checkout: "
            "`git checkout -- %(path)s`"
        ) % {"path": path}
    if (getattr(broken.error, "text", None) or "").startswith(CONFLICT_MARKS):
        return _("A merge was not finished in it: `grep -nE '^(<{7}|={7}|>{7})' %(path)s` shows where.") % {
            "path": path
        }
    if isinstance(broken.error, WithoutMigration):
        other = shlex.quote(shown(broken.path.with_name(f"_{broken.path.name}")))
        return _(
            "If it is no migration, give it a name that Django passes over: `git mv %(path)s %(other)s`, and "
            "change what imports it."
        ) % {"path": path, "other": other}
    if isinstance(broken.error, NotAMigration):
        return _("Each entry is written as in ('auth', '0001_initial'), and the list in square brackets.")
    return _as_python_says(broken)


def _is_empty(broken: BrokenFile) -> bool:
    return (
        bool(broken.key[1])
        and isinstance(broken.error, WithoutMigration)
        and not broken.path.read_text(errors="replace").strip()
    )


def _as_python_says(broken: BrokenFile) -> str:
    app, name = broken.key
    package, _explicit = MigrationLoader.migrations_module(app)
    module = f"{package}.{name}".strip(".")
    command = f"manage.py shell -c \"from importlib import import_module; import_module('{module}')\""
    if isinstance(broken.error, ModuleNotFoundError) and broken.error.name:
        return _(
            "Install the package that has the module '%(module)s', or copy that file here. To see it fail: "
            "`%(command)s`"
        ) % {"module": broken.error.name, "command": command}
    return _("Mend the file. To see where it fails: `%(command)s`") % {"command": command}


CHECK = Check(
    id="runbook.P201",
    title=gettext_lazy("every migration file can be imported"),
    look=check_broken_files,
    bars_plan=True,
    suppressible=False,
)
