"""manage.py runbook: check, run, resume and look at upgrades."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _
from rich.text import Text

from django_runbook.backups import (
    Manifest,
    find_backups,
    load_manifest,
    make_backup,
    make_private_folder,
    manifest_of,
)
from django_runbook.conf import backup_directory, run_directory
from django_runbook.databases import Database
from django_runbook.engine import execute, open_run, prepare_resume, reopen_run
from django_runbook.exceptions import JournalDamaged, Refused
from django_runbook.fixtures import export
from django_runbook.interrupts import Interrupts
from django_runbook.journal import Journal, is_held, read_journal
from django_runbook.management.base import (
    RunbookCommand,
    closing,
    common_options,
    confirm,
    help_formatter,
    reach,
)
from django_runbook.plan import Plan
from django_runbook.planning import load_plan, plan_of_run, standings
from django_runbook.preflight import check_plan, check_situation, has_errors, refuse_errors
from django_runbook.recovery import plan_undo, restore, undo
from django_runbook.report import build_report
from django_runbook.report.as_json import findings_to_json, plan_to_json, report_to_json
from django_runbook.report.live import Live
from django_runbook.report.text import (
    findings_to_text,
    plan_to_text,
    report_to_text,
    standings_to_text,
    undo_to_text,
)
from django_runbook.runs import FoundRun, find_run, unfinished_run
from django_runbook.schema.states import applied_migrations


class Command(RunbookCommand):
    help = _(
        "Upgrade a database in the right order, or not at all. Begin with `runbook plan`, which touches "
        "nothing; `runbook run` does it; `runbook resume` goes on after a failure; `runbook status` shows "
        "every way back."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.set_defaults(database="default", output=None, format="text", interactive=True)
        commands = parser.add_subparsers(
            dest="subcommand", required=True, metavar="COMMAND", parser_class=ArgumentParser
        )
        for name, (help_text, add) in SUBCOMMANDS.items():
            formats = ("json", "jsonl") if name == "export" else ("text", "json")
            sub = commands.add_parser(
                name,
                help=help_text,
                description=help_text,
                parents=[common_options(formats=formats)],
                formatter_class=help_formatter,
            )
            add(sub)

    def handle(self, *args: Any, subcommand: str, **options: Any) -> None:
        getattr(self, f"do_{subcommand}")(options)

    def do_list(self, options: dict[str, Any]) -> None:
        found = standings(reach(options["database"]))
        self.show(options, standings_to_text(found), [standing.to_json() for standing in found])

    def do_plan(self, options: dict[str, Any]) -> None:
        plan = load_plan(options["name"], reach(options["database"]))
        self._show_plan(plan, options)

    def do_check(self, options: dict[str, Any]) -> None:
        database = reach(options["database"])
        findings = check_situation(database)
        if not has_errors(findings):
            plan = load_plan(options["name"], database)
            findings += check_plan(plan, database) if plan else []
        self.show(options, findings_to_text(findings), findings_to_json(findings))
        refuse_errors(findings)

    def do_run(self, options: dict[str, Any]) -> None:
        database = reach(options["database"])
        refuse_errors(check_situation(database))
        plan = load_plan(options["name"], database)
        if plan is None:
            self._show_plan(plan, options)
            return
        findings = check_plan(plan, database)
        refuse_errors(findings)
        if options["format"] == "text":
            if findings:
                self.console(options).print(findings_to_text(findings))
            self.console(options).print(plan_to_text(plan))
        confirm(_("Run it?"), interactive=options["interactive"], required=False)
        live = Live(self.console(options, live=True), options["verbosity"])
        with Interrupts(live.notify) as interrupts, open_run(plan, database, live) as journal, closing(live):
            execute(plan, journal, database, interrupts)
        self._report(journal, options)

    def do_resume(self, options: dict[str, Any]) -> None:
        database = reach(options["database"])
        run = find_run(options["run"], database, unfinished=True)
        if run.state.is_closed:
            raise Refused(
                _("Run %(run)s is closed: there is nothing to resume.") % {"run": run.state.run_id},
                _("`manage.py runbook run` begins a new one."),
            )
        live = Live(self.console(options, live=True), options["verbosity"])
        live.follow(run.entries)
        with (
            Interrupts(live.notify) as interrupts,
            reopen_run(run.path, database, live, live.notify) as journal,
            closing(live),
        ):
            plan = plan_of_run(journal.state, database)
            prepare_resume(
                plan,
                journal,
                database,
                assume_done=options["assume_done"],
                run_again=options["run_again"],
            )
            execute(plan, journal, database, interrupts)
        self._report(journal, options)

    def do_undo(self, options: dict[str, Any]) -> None:
        database = reach(options["database"])
        run = find_run(options["run"], database, unfinished=True)
        live = Live(self.console(options, live=True), options["verbosity"])
        live.follow(run.entries)
        with reopen_run(run.path, database, live, live.notify) as journal, closing(live):
            plan = plan_undo(journal, database)
            if options["format"] == "text":
                self.console(options).print(undo_to_text(plan, journal.state), crop=False)
            confirm(_("Undo it?"), interactive=options["interactive"], required=False)
            with Interrupts(live.notify, go_on="undo") as interrupts:
                undo(journal, database, plan, safe_point=interrupts.safe_point, progress=live.taking_back)
        self._report(journal, options)

    def do_status(self, options: dict[str, Any]) -> None:
        run = find_run(options["run"], reach(options["database"]))
        if options["watch"]:
            self._watch(run, options)
        self._show_run(run, options)

    def do_report(self, options: dict[str, Any]) -> None:
        self._show_run(find_run(options["run"], reach(options["database"])), options)

    def do_backup(self, options: dict[str, Any]) -> None:
        database = reach(options["database"])
        manifest = make_backup(
            database,
            backup_directory(),
            applied=sorted(applied_migrations(database.connection)),
            now=datetime.now(UTC),
        )
        text = _("Backup: %(path)s, %(bytes)d bytes, SHA-256 %(sha256)s") % {
            "path": manifest.dump_path,
            "bytes": manifest.bytes,
            "sha256": manifest.sha256,
        }
        self.show(options, Text(text, overflow="fold"), manifest)

    def do_restore(self, options: dict[str, Any]) -> None:
        database = reach(options["database"])
        state = _unfinished_or_none(database)
        manifest = _chosen_backup(options["backup"], state.backup if state else "", database.identity)
        confirm(
            _("Everything written to database '%(alias)s' since %(created)s will be lost. Restore?")
            % {"alias": database.alias, "created": manifest.created},
            interactive=options["interactive"],
            required=True,
        )
        self._restore(manifest, database, state.run_id if state else "")
        text = _("Database '%(alias)s' is in the state of %(created)s again.") % {
            "alias": database.alias,
            "created": manifest.created,
        }
        self.show(options, Text(text), manifest)

    def do_export(self, options: dict[str, Any]) -> None:
        database = reach(options["database"])
        labels = options["labels"]
        if not labels and not options["all"]:
            raise Refused(_("Say what to export: labels such as core.Service, or --all."))
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        name = f"{'-'.join(labels) or 'all'}-{stamp}.{options['format']}"
        target = Path(options["output"] or _exports_folder() / name)
        result = export(
            database, labels, target.absolute(), exclude=options["exclude"], format=options["format"]
        )
        for label, count in result.objects.items():
            self.stdout.write(f"{count:>9} {label}")
        self.stdout.write(str(result.path))

    def _restore(self, manifest: Manifest, database: Database, run_id: str) -> None:
        if not run_id:
            with database.lock():
                restore(manifest.path, database, None)
            return
        run = find_run(run_id, database)
        with reopen_run(run.path, database) as journal:
            restore(manifest.path, database, journal)

    def _show_plan(self, plan: Plan | None, options: dict[str, Any]) -> None:
        if plan:
            self.show(options, plan_to_text(plan), plan_to_json(plan))
            return
        text = (
            _("Runbook '%(name)s' is completed on this database; nothing to do.") % {"name": options["name"]}
            if options["name"]
            else _("Nothing is pending on this database; nothing to do.")
        )
        self.show(options, Text(text), _NOTHING)

    def _report(self, journal: Journal, options: dict[str, Any]) -> None:
        self._show_run(FoundRun(path=journal.path, entries=journal.entries), options)

    def _show_run(self, run: FoundRun, options: dict[str, Any]) -> None:
        report = build_report(run.entries, str(run.path))
        self.show(options, report_to_text(report), report_to_json(report))

    def _watch(self, run: FoundRun, options: dict[str, Any]) -> None:
        live = Live(self.console(options, live=True), options["verbosity"])
        seen = 0
        with closing(live):
            while True:
                running = is_held(run.path)
                run.entries[:] = read_journal(run.path)
                for entry in run.entries[seen:]:
                    live(entry)
                seen = len(run.entries)
                if not running:
                    return
                time.sleep(0.5)


_NOTHING: dict[str, Any] = {"runbook": None, "steps": []}


def _unfinished_or_none(database: Database) -> Any:
    """A restore must be possible even if a journal is damaged: then it is not written to."""
    try:
        return unfinished_run(database)
    except JournalDamaged:
        return None


def _exports_folder() -> Path:
    folder = run_directory() / "exports"
    try:
        make_private_folder(folder)
    except OSError as error:
        raise Refused(
            _("%(path)s cannot be written: %(error)s.") % {"path": folder, "error": error.strerror},
            _('Give this user write access, or set RUNBOOK["DIR"] to another folder.'),
        ) from error
    return folder


def _chosen_backup(path: str, of_run: str, identity: dict[str, str]) -> Manifest:
    if path or of_run:
        chosen = Path(path or of_run)
        return load_manifest(chosen if chosen.suffix == ".json" else manifest_of(chosen))
    backups = [it for it in find_backups(backup_directory()) if it.identity == identity]
    if not backups:
        raise Refused(
            _("There is no backup in %(folder)s.") % {"folder": backup_directory()},
            _("Name the file: `manage.py runbook restore FILE`."),
        )
    return backups[0]


def _no_arguments(parser: ArgumentParser) -> None:
    pass


def _name(parser: ArgumentParser) -> None:
    parser.add_argument(
        "name", nargs="?", default="", metavar="NAME", help=_("A runbook; without it, all that is pending.")
    )


def _run_id(parser: ArgumentParser) -> None:
    parser.add_argument(
        "run",
        nargs="?",
        default="",
        metavar="RUN",
        help=_("A run, by the beginning of its id; default: the latest."),
    )


def _resume(parser: ArgumentParser) -> None:
    _run_id(parser)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--assume-done",
        action="store_true",
        help=_("The step that was killed had its effect: go on after it."),
    )
    choice.add_argument(
        "--run-again", action="store_true", help=_("The step that was killed may safely run again.")
    )


def _status(parser: ArgumentParser) -> None:
    _run_id(parser)
    parser.add_argument("--watch", action="store_true", help=_("Follow the run until its process ends."))


def _backup_file(parser: ArgumentParser) -> None:
    parser.add_argument(
        "backup",
        nargs="?",
        default="",
        metavar="FILE",
        help=_("A backup or its manifest; default: the run's, or the newest."),
    )


def _labels(parser: ArgumentParser) -> None:
    parser.add_argument("labels", nargs="*", metavar="LABEL", help=_("app_label or app_label.Model"))
    parser.add_argument("--all", action="store_true", help=_("Every model of every app."))
    parser.add_argument("--exclude", action="append", default=[], metavar="LABEL", help=_("Leave this out."))


SUBCOMMANDS: dict[str, tuple[str, Any]] = {
    "list": (_("Runbooks, and where each stands on this database."), _no_arguments),
    "plan": (_("What will happen, in which order and why; touches nothing."), _name),
    "check": (_("Everything that can be known before step one; touches nothing."), _name),
    "run": (_("Do it: check, back up, migrate, move, verify, export, restart."), _name),
    "resume": (_("Go on after a failure, a kill or a power cut."), _resume),
    "undo": (_("Back to the state before the run, if that loses nothing; says what it would lose."), _run_id),
    "status": (_("Where a run stands, and what is safe to do next."), _status),
    "report": (_("What a run did, step by step."), _run_id),
    "backup": (_("Take a backup, without a run."), _no_arguments),
    "restore": (_("Bring back exactly the state of a backup; loses what was written since."), _backup_file),
    "export": (_("Write fixtures with the models that match the database, whatever its schema."), _labels),
}
