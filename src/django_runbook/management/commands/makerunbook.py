"""manage.py makerunbook: write a runbook from what is pending."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.apps import AppConfig, apps
from django.core.management.base import CommandParser
from django.utils.translation import gettext as _

from django_runbook.conf import configured_services
from django_runbook.databases import Database
from django_runbook.exceptions import Refused
from django_runbook.management.base import RunbookCommand, common_options, reach
from django_runbook.planning import load_place
from django_runbook.schema import is_third_party
from django_runbook.schema.history import Key
from django_runbook.steps import Backfill, Place, Restart
from django_runbook.suggest import suggest, to_module


class Command(RunbookCommand):
    help = _(
        "Write APP/runbooks/NAME.py from what is pending on a database: the steps in the right order, each "
        "with the reason for its place. Read it, mend it, commit it. An existing file is never overwritten."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, parents=[common_options()], conflict_handler="resolve", **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "app_label", nargs="?", default="", metavar="APP_LABEL", help=_("The app that gets the file.")
        )
        parser.add_argument("-n", "--name", default="", metavar="NAME", help=_("The runbook's name."))
        parser.add_argument("--dry-run", action="store_true", help=_("Print the file; write nothing."))

    def handle(self, *args: Any, **options: Any) -> None:
        database = reach(options["database"])
        start = load_place(database)
        pending = _pending(start, options["app_label"])
        if not pending:
            self.stdout.write(_("Nothing is pending on this database: there is nothing to write."))
            return
        app_config = _app(options["app_label"], pending)
        name = options["name"] or _name(app_config, pending)
        if not name.isidentifier():
            raise Refused(
                _("'%(name)s' cannot be the name of a Python module.") % {"name": name},
                _("Use letters, digits and underscores."),
            )
        draft = suggest(start, pending, _tasks(), [Restart(service) for service in configured_services()])
        text = to_module(draft, name, _heading(database, pending))
        if options["dry_run"]:
            self.stdout.write(text)
            return
        path = _write(app_config, name, text)
        self.stdout.write(
            _("Wrote %(path)s. Read it, then try `manage.py runbook plan %(name)s`.")
            % {"path": path, "name": name}
        )
        for task in draft.skeletons:
            self.stdout.write(_("Still to be written there: %(task)s.batch().") % {"task": task.__name__})


def _pending(start: Place, app_label: str) -> list[Key]:
    pending = start.history.pending(start.applied)
    if app_label:
        apps_config = _config(app_label)
        mine = [key for key in pending if key[0] == apps_config.label]
        needed = {needed for key in mine for needed in start.history.path(key, start.applied)}
        pending = [key for key in pending if key in needed]
    return pending


def _app(app_label: str, pending: Sequence[Key]) -> AppConfig:
    if app_label:
        return _config(app_label)
    labels = list(dict.fromkeys(key[0] for key in pending))
    own = [label for label in labels if not is_third_party(Path(apps.get_app_config(label).path))]
    if len(own) != 1:
        raise Refused(
            _("Which app shall have the runbook? Pending are migrations of: %(labels)s.")
            % {"labels": ", ".join(own or labels)},
            _("Name it: `manage.py makerunbook APP_LABEL`."),
        )
    return apps.get_app_config(own[0])


def _config(app_label: str) -> AppConfig:
    try:
        return apps.get_app_config(app_label)
    except LookupError as error:
        raise Refused(str(error)) from error


def _name(app_config: AppConfig, pending: Sequence[Key]) -> str:
    """After the first pending migration of the app that has words in its name."""
    for label, migration in pending:
        words = re.sub(r"^\d+_", "", migration)
        if label == app_config.label and not words.startswith(("auto_", "initial", "squashed")):
            return words.lower()
    return "upgrade"


def _tasks() -> list[type[Backfill]]:
    """Every task in the module `backfills` of an installed app."""
    found = []
    for app_config in apps.get_app_configs():
        name = f"{app_config.name}.backfills"
        if name == "django_runbook.backfills" or importlib.util.find_spec(name) is None:
            continue
        members = inspect.getmembers(importlib.import_module(name), inspect.isclass)
        found += [it for _, it in members if issubclass(it, Backfill) and it.__module__ == name]
    return found


def _heading(database: Database, pending: Sequence[Key]) -> str:
    last = pending[-1]
    return (
        f"Upgrade to {last[0]}.{last[1]}.\n\n"
        f"Written by makerunbook on {datetime.now(UTC):%Y-%m-%d} from the {len(pending)} migrations\n"
        f"that were pending on database '{database.alias}'. What you read is what runs."
    )


def _write(app_config: AppConfig, name: str, text: str) -> Path:
    folder = Path(app_config.path) / "runbooks"
    path = folder / f"{name}.py"
    try:
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").touch()
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise Refused(
            _("%(path)s is there already, and is never overwritten.") % {"path": path},
            _("Choose another name with -n NAME, or remove the file."),
        ) from error
    except OSError as error:
        raise Refused(
            _("%(path)s cannot be written: %(error)s.") % {"path": path, "error": error.strerror},
            _("Give this user write access, or print the file with --dry-run."),
        ) from error
    return path
