"""What the commands share: options, consoles, and errors as exit codes."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError, DjangoHelpFormatter
from django.db import DEFAULT_DB_ALIAS
from django.db import Error as AnyDatabaseError
from django.utils.translation import gettext as _
from rich.console import Console, RenderableType

from django_runbook.databases import Database, get_database
from django_runbook.exceptions import Interrupted, Refused, RunbookError
from django_runbook.files import new_files
from django_runbook.programs import redact
from django_runbook.report.as_json import dumps


class RunbookCommand(BaseCommand):
    """A command whose errors become the exit codes of the contract: 1, 2 and 130."""

    requires_system_checks: list[str] = []

    def execute(self, *args: Any, **options: Any) -> str | None:
        secrets: list[str] = []
        try:
            with contextlib.suppress(RunbookError):
                secrets = get_database(options["database"]).secrets
            _refuse_unwritable(options.get("output"))
            return super().execute(*args, **options)
        except RunbookError as error:
            raise _command_error(error, secrets) from error
        except AnyDatabaseError as error:
            raise _command_error(_database_error(error), secrets) from error
        except KeyboardInterrupt as error:
            raise _command_error(_interrupted(), secrets) from error

    def console(self, options: dict[str, Any], *, live: bool = False) -> Console:
        """Where to print: stdout; progress goes to stderr if stdout carries JSON."""
        stream = self.stderr if live and options["format"] == "json" else self.stdout
        return Console(
            file=cast("IO[str]", stream._out),
            no_color=options["no_color"] or None,
            force_terminal=True if options["force_color"] else None,
            highlight=False,
            soft_wrap=False,
        )

    def show(self, options: dict[str, Any], text: RenderableType, value: Any) -> None:
        """Print `text`, or `value` as JSON; into the file that --output names, if it does."""
        target = options["output"]
        if options["format"] == "json":
            self._write(target, dumps(value))
        elif target:
            console = Console(width=120, no_color=True, highlight=False)
            with console.capture() as captured:
                console.print(text, crop=False)
            self._write(target, captured.get())
        else:
            self.console(options).print(text, crop=False)

    def _write(self, target: str | None, text: str) -> None:
        if not target:
            self.stdout.write(text)
            return
        with new_files(Path(target).absolute()) as (file,):
            file.write(text.encode())


_STORE_TRUE: dict[str, Any] = {"action": "store_true"}
_DJANGO_OPTIONS: dict[tuple[str, ...], dict[str, Any]] = {
    ("-v", "--verbosity"): {"type": int, "choices": range(4)},
    ("--settings",): {},
    ("--pythonpath",): {},
    ("--traceback",): _STORE_TRUE,
    ("--no-color",): _STORE_TRUE,
    ("--force-color",): _STORE_TRUE,
    ("--skip-checks",): _STORE_TRUE,
}


def reach(alias: str) -> Database:
    """The database, connected. Raise Refused if it cannot be reached."""
    database = get_database(alias)
    try:
        database.connection.ensure_connection()
    except AnyDatabaseError as error:
        raise Refused(
            _("Database '%(alias)s' cannot be reached: %(error)s")
            % {"alias": alias, "error": redact(str(error).strip(), database.secrets)},
            _("Check that the server runs, and the entry of DATABASES: host, port, name, user, password."),
        ) from error
    return database


def common_options(*, formats: tuple[str, ...] = ("text", "json")) -> ArgumentParser:
    """The options that every subcommand takes, to be given as a parent.

    Django's own ones stand on the main parser; here they are repeated without a default, so that they
    may also follow the subcommand.
    """
    parser = ArgumentParser(add_help=False)
    parser.add_argument(
        "--database",
        default=DEFAULT_DB_ALIAS,
        metavar="ALIAS",
        help=_("The entry of DATABASES to work on. Default: 'default'."),
    )
    parser.add_argument(
        "--noinput", "--no-input", action="store_false", dest="interactive", help=_("Never ask.")
    )
    parser.add_argument(
        "--format",
        choices=formats,
        default=formats[0],
        help=_("Form of what is printed. Default: %(default)s."),
    )
    parser.add_argument("-o", "--output", metavar="FILE", help=_("Write it to FILE instead of the screen."))
    for flags, more in _DJANGO_OPTIONS.items():
        parser.add_argument(*flags, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **more)
    return parser


def help_formatter(prog: str) -> argparse.HelpFormatter:
    return DjangoHelpFormatter(prog, max_help_position=34)


def confirm(question: str, *, interactive: bool, required: bool) -> None:
    """Ask on a terminal. Raise Refused on "no", and where `required` consent cannot be asked for."""
    if not interactive:
        return
    if not sys.stdin or not sys.stdin.isatty():
        if required:
            raise Refused(
                _("This needs your consent, and there is no terminal to ask on."),
                _("Say --noinput if you mean it."),
            )
        return
    yes, no = _("y"), _("N")
    answer = input(f"{question} [{yes}/{no}] ").strip().lower()
    if answer not in (_("y"), _("yes"), "y", "yes"):
        raise Refused(_("Not confirmed; nothing was touched."))


@contextlib.contextmanager
def closing(live: Any) -> Iterator[None]:
    try:
        yield
    finally:
        live.stop()


def _refuse_unwritable(target: str | None) -> None:
    """Raise Refused if --output names a place where no file can be made: after a run it would be too late."""
    if not target:
        return
    try:
        tempfile.TemporaryFile(dir=Path(target).absolute().parent).close()
    except OSError as error:
        raise Refused(
            _("%(path)s cannot be written: %(error)s.") % {"path": target, "error": error.strerror},
            _("Create it, or name another file."),
        ) from error


def _command_error(error: RunbookError, secrets: list[str]) -> CommandError:
    return CommandError(redact(str(error), secrets), returncode=error.exit_code)


def _database_error(error: Exception) -> RunbookError:
    return RunbookError(
        _("The database reported an error: %(error)s") % {"error": error},
        _("`manage.py runbook status` shows where the latest run stands."),
    )


def _interrupted() -> Interrupted:
    return Interrupted(
        _("Interrupted, as you asked."),
        _("If a run was under way, `manage.py runbook resume` looks where it stands and goes on."),
    )
