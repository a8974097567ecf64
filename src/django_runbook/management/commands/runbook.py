"""manage.py runbook: check, run, resume and look at upgrades."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser
from django.utils.translation import gettext as _
from rich.text import Text

from django_runbook.backfill_ledger import BackfillLedger, Control
from django_runbook.backfills.standing import give_word, standing_of
from django_runbook.backups import (
    Level,
    Manifest,
    fetch_backup,
    find_backups,
    load_manifest,
    losses,
    make_private_folder,
    manifest_of,
    refuse_connected,
    refuse_cut_off_restore,
    take_backup,
    terms_for,
)
from django_runbook.conf import backup_directory, backup_storage, check_limit, run_directory
from django_runbook.databases import Database
from django_runbook.engine import execute, open_run, prepare_resume, reopen_run
from django_runbook.exceptions import JournalDamaged, Refused, RunbookError
from django_runbook.fixtures import export, load, verify, verify_against
from django_runbook.interrupts import Interrupts
from django_runbook.journal import Journal, is_held, read_journal, unfinished_ids
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
from django_runbook.preflight import Examination, Severity, examine, refuse_findings
from django_runbook.quarantine import retry_quarantined
from django_runbook.recovery import after_failure, plan_undo, reopened_for_restore, restore, undo
from django_runbook.rehearsals import (
    Certificate,
    backup_to_rehearse,
    find_certificate,
    refuse_unrehearsed,
    rehearse,
)
from django_runbook.report import build_report
from django_runbook.report.as_json import (
    examination_to_json,
    findings_to_facts,
    plan_to_json,
    predictions_to_facts,
    report_to_json,
)
from django_runbook.report.backfills import backfills_to_text
from django_runbook.report.backup import LiveBackup, backup_to_json, backup_to_text
from django_runbook.report.fixtures import LiveObjects, loaded_to_json, loaded_to_text
from django_runbook.report.live import Live
from django_runbook.report.text import (
    certificate_to_text,
    duration_to_text,
    examination_to_text,
    plan_to_text,
    report_to_text,
    restore_to_text,
    standings_to_text,
    undo_to_text,
)
from django_runbook.runs import FoundRun, find_run, unfinished_run
from django_runbook.schema.states import applied_migrations
from django_runbook.steps import Backfill


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
        database = reach(options["database"])
        plan = load_plan(options["name"], database)
        self._show_plan(plan, options, find_certificate(plan, database) if plan else None)

    def do_check(self, options: dict[str, Any]) -> None:
        found = self._examine(reach(options["database"]), options)
        self.show(options, examination_to_text(found), examination_to_json(found))
        if found.reaching(_fail_level(options)):
            raise Refused(_("The check before step one failed; nothing was touched."))
        refuse_findings(found)

    def do_run(self, options: dict[str, Any]) -> None:
        database = reach(options["database"])
        found = self._examine(database, options)
        refuse_findings(found, _fail_level(options))
        plan = found.plan
        if plan is None:
            self._show_plan(plan, options)
            return
        _limit_rate(plan, options["max_rate"])
        if options["require_rehearsal"]:
            refuse_unrehearsed(plan, database)
        certificate = find_certificate(plan, database)
        if options["format"] == "text":
            if found.findings:
                self.console(options).print(examination_to_text(found))
            self.console(options).print(plan_to_text(plan, certificate))
        confirm(_("Run it?"), interactive=options["interactive"], required=False)
        live = Live(self.console(options, live=True), options["verbosity"])
        known = {**findings_to_facts(found), **predictions_to_facts(certificate)}
        with (
            Interrupts(live.notify) as interrupts,
            open_run(plan, database, live, known) as journal,
        ):
            self._execute(plan, journal, database, interrupts, live, options)

    def do_rehearse(self, options: dict[str, Any]) -> None:
        database = reach(options["database"])
        found = self._examine(database, options)
        refuse_findings(found, _fail_level(options))
        plan = found.plan
        if plan is None:
            self._show_plan(plan, options)
            return
        live = Live(self.console(options, live=True), options["verbosity"])
        with Interrupts(live.notify, go_on="rehearse") as interrupts, closing(live):
            named = options["backup"]
            manifest = _chosen_backup(named, database) if named else backup_to_rehearse(database)
            certificate = rehearse(
                plan,
                database,
                manifest,
                identity=_path(options["identity"]),
                announce=live,
                interrupts=interrupts,
            )
        self.show(options, certificate_to_text(certificate), certificate)
        if not certificate.passed:
            raise RunbookError(
                _("The rehearsal failed: %(error)s") % {"error": certificate.error},
                _("The database itself was not touched. Mend the cause, then rehearse again."),
            )

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
        ):
            plan = plan_of_run(journal.state, database)
            _limit_rate(plan, options["max_rate"])
            prepare_resume(
                plan,
                journal,
                database,
                assume_done=options["assume_done"],
                run_again=options["run_again"],
            )
            self._execute(plan, journal, database, interrupts, live, options)

    def do_undo(self, options: dict[str, Any]) -> None:
        database = reach(options["database"])
        run = find_run(options["run"], database, unfinished=True)
        live = Live(self.console(options, live=True), options["verbosity"])
        live.follow(run.entries)
        with reopen_run(run.path, database, live, live.notify) as journal:
            plan = plan_undo(journal, database)
            if options["format"] == "text":
                self.console(options).print(undo_to_text(plan, journal.state), crop=False)
            confirm(_("Undo it?"), interactive=options["interactive"], required=False)
            with (
                self._reporting(journal, options),
                closing(live),
                Interrupts(live.notify, go_on="undo") as interrupts,
            ):
                undo(journal, database, plan, safe_point=interrupts.safe_point, progress=live.taking_back)

    def do_status(self, options: dict[str, Any]) -> None:
        database = reach(options["database"])
        try:
            run = find_run(options["run"], database)
        except Refused:
            refuse_cut_off_restore(database)
            raise
        if options["watch"]:
            self._watch(run, options)
        self._show_run(run, options, incomplete_since=database.cut_off_restore())

    def do_report(self, options: dict[str, Any]) -> None:
        self._show_run(find_run(options["run"], reach(options["database"])), options)

    def do_backup(self, options: dict[str, Any]) -> None:
        database = reach(options["database"])
        with LiveBackup(self.console(options, live=True)) as report:
            taken = take_backup(
                database,
                backup_directory(),
                terms=terms_for(database, level=options["level"]),
                unfinished=unfinished_ids(run_directory()),
                applied=sorted(applied_migrations(database.connection)),
                now=datetime.now(UTC),
                report=report,
            )
        self.show(options, backup_to_text(taken), backup_to_json(taken))

    def do_restore(self, options: dict[str, Any]) -> None:
        database = reach(options["database"])
        manifest = _chosen_backup(options["backup"], database)
        with reopened_for_restore(manifest, database) as journals:
            if not options["while_connected"]:
                refuse_connected(database)
            lost = [] if database.cut_off_restore() else losses(manifest, database, check_limit())
            if options["format"] == "text":
                self.console(options).print(restore_to_text(manifest, lost), crop=False)
            confirm(
                _("Everything written to database '%(alias)s' since %(created)s will be lost. Restore?")
                % {"alias": database.alias, "created": manifest.created},
                interactive=options["interactive"],
                required=True,
            )
            took = restore(manifest, database, journals, identity=_path(options["identity"]))
        text = _(
            "Database '%(alias)s' is in the state of %(created)s again, and was compared with the backup: "
            "%(time)s."
        ) % {"alias": database.alias, "created": manifest.created, "time": duration_to_text(took)}
        self.show(options, Text(text), {**asdict(manifest), "lost": lost, "seconds": took})

    def do_backfill(self, options: dict[str, Any]) -> None:
        database = reach(options["database"])
        run = find_run(options["run"], database)
        ledgers = BackfillLedger.of_run(database, run.state.run_id)
        if word := _word(options):
            if not give_word(ledgers, **word):
                raise Refused(
                    _("No backfill of run %(run)s is under way.") % {"run": run.state.run_id},
                    _("`manage.py runbook status` shows where the run stands."),
                )
        elif options["retry_quarantined"]:
            with Interrupts(go_on="backfill --retry-quarantined") as interrupts:
                retry_quarantined(run.state, database, interrupts.safe_point)
        found = [standing_of(ledger) for ledger in ledgers]
        self.show(options, backfills_to_text(found), [asdict(it) for it in found])

    def do_export(self, options: dict[str, Any]) -> None:
        if options["verify"]:
            self._verify_export(Path(options["verify"]).absolute(), options)
            return
        database = reach(options["database"])
        labels = options["labels"]
        if not labels and not options["all"]:
            raise Refused(_("Say what to export: labels such as core.Service, or --all."))
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        name = f"{'-'.join(labels) or 'all'}-{stamp}.{options['format']}"
        target = Path(options["output"] or _exports_folder() / name)
        with LiveObjects(self.console(options, live=True)) as progress:
            result = export(
                database,
                labels,
                target.absolute(),
                exclude=options["exclude"],
                format=options["format"],
                progress=progress,
            )
        for label, count in result.objects.items():
            self.stdout.write(f"{count:>9} {label}")
        self.stdout.write(str(result.path))

    def _verify_export(self, fixture: Path, options: dict[str, Any]) -> None:
        if options["labels"] or options["all"]:
            raise Refused(_("--verify looks at a file; it takes no labels."))
        if options["against_database"]:
            with LiveObjects(self.console(options, live=True)) as progress:
                manifest = verify_against(reach(options["database"]), fixture, progress)
        else:
            manifest = verify(fixture)
        for label, count in manifest.objects.items():
            self.stdout.write(f"{count:>9} {label}")
        self.stdout.write(f"{manifest.sha256}  {fixture}")

    def do_load(self, options: dict[str, Any]) -> None:
        database = reach(options["database"])
        files = [Path(name).absolute() for name in options["files"]]
        with database.lock(), LiveObjects(self.console(options, live=True)) as progress:
            result = load(database, files, insert_only=options["insert_only"], progress=progress)
        self.show(options, loaded_to_text(result), loaded_to_json(result))

    def _execute(
        self,
        plan: Plan,
        journal: Journal,
        database: Database,
        interrupts: Interrupts,
        live: Live,
        options: dict[str, Any],
    ) -> None:
        with self._reporting(journal, options), closing(live):
            try:
                execute(plan, journal, database, interrupts)
            except RunbookError as error:
                raise after_failure(journal, database, error, progress=live.taking_back) from error

    @contextmanager
    def _reporting(self, journal: Journal, options: dict[str, Any]) -> Iterator[None]:
        """Show the run and the ways out of it at the end of the block, be it a failure."""
        try:
            yield
        finally:
            self._show_run(FoundRun(path=journal.path, entries=journal.entries), options)

    def _examine(self, database: Database, options: dict[str, Any]) -> Examination:
        seconds = options["time_limit"]
        limit = check_limit() if seconds is None else timedelta(seconds=seconds)
        return examine(database, lambda: load_plan(options["name"], database), limit)

    def _show_plan(
        self, plan: Plan | None, options: dict[str, Any], certificate: Certificate | None = None
    ) -> None:
        if plan:
            self.show(options, plan_to_text(plan, certificate), plan_to_json(plan, certificate))
            return
        text = (
            _("Runbook '%(name)s' is completed on this database; nothing to do.") % {"name": options["name"]}
            if options["name"]
            else _("Nothing is pending on this database; nothing to do.")
        )
        self.show(options, Text(text), _NOTHING)

    def _show_run(self, run: FoundRun, options: dict[str, Any], *, incomplete_since: str = "") -> None:
        backup = run.state.backup
        report = build_report(
            run.entries,
            str(run.path),
            backup_is_there=not backup or Path(backup).is_file(),
            incomplete_since=incomplete_since,
        )
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


def _fail_level(options: dict[str, Any]) -> Severity:
    return Severity(options["fail_level"].replace("-", " "))


_NOTHING: dict[str, Any] = {"runbook": None, "steps": []}


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


def _chosen_backup(path: str, database: Database) -> Manifest:
    """The one that is named, else that of the unfinished run, else the newest."""
    chosen = path or _backup_of_unfinished_run(database)
    if chosen:
        file = Path(chosen)
        manifest, alias = file if file.suffix == ".json" else manifest_of(file), backup_storage()
        return load_manifest(manifest) if manifest.exists() or not alias else _fetched(manifest, alias)
    backups = [it for it in find_backups(backup_directory()) if it.identity == database.identity]
    if not backups:
        raise Refused(
            _("There is no backup in %(folder)s.") % {"folder": backup_directory()},
            _("Name the file: `manage.py runbook restore FILE`."),
        )
    return backups[0]


def _fetched(path: Path, alias: str) -> Manifest:
    """From the storage, into the folder of the backups, unless it was fetched before."""
    here = backup_directory() / path.name
    return load_manifest(here) if here.exists() else fetch_backup(path.name, alias, backup_directory())


def _backup_of_unfinished_run(database: Database) -> str:
    """Empty if a journal is damaged, too: a restore must be possible."""
    try:
        run = unfinished_run(database)
    except JournalDamaged:
        return ""
    return run.backup if run else ""


def _path(option: str | None) -> Path | None:
    return Path(option) if option else None


def _no_arguments(parser: ArgumentParser) -> None:
    pass


def _name(parser: ArgumentParser) -> None:
    parser.add_argument(
        "name", nargs="?", default="", metavar="NAME", help=_("A runbook; without it, all that is pending.")
    )


def _examined(parser: ArgumentParser) -> None:
    _name(parser)
    parser.add_argument(
        "--fail-level",
        choices=[level.value.replace(" ", "-") for level in Severity],
        default=Severity.ERROR.value,
        help=_("Refuse from this severity on. Default: %(default)s."),
    )
    parser.add_argument(
        "--time-limit",
        type=float,
        metavar="SECONDS",
        help=_("How long the check may ask the database; what it does not reach is named."),
    )


def _run(parser: ArgumentParser) -> None:
    _examined(parser)
    _max_rate(parser)
    parser.add_argument(
        "--require-rehearsal",
        action="store_true",
        help=_("Refuse unless this very plan was rehearsed from this very schema, and passed."),
    )


def _rehearsed(parser: ArgumentParser) -> None:
    _examined(parser)
    parser.add_argument(
        "--backup",
        default="",
        metavar="FILE",
        help=_("The backup to restore; default: the newest proven one of these migrations, else a new one."),
    )
    _identity(parser)


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
    _max_rate(parser)
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


def _backup(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--level",
        choices=[level.value for level in Level],
        default="",
        help=_("proven by a restore, or checksummed only; default: as the settings say, and by size."),
    )


def _backup_file(parser: ArgumentParser) -> None:
    parser.add_argument(
        "backup",
        nargs="?",
        default="",
        metavar="FILE",
        help=_("A backup or its manifest; default: the run's, or the newest."),
    )
    parser.add_argument(
        "--while-connected",
        action="store_true",
        help=_("Restore although others are connected; what they write meanwhile is lost or in the way."),
    )
    _identity(parser)


def _identity(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--identity", metavar="FILE", help=_("The file of a secret key that opens an encrypted backup.")
    )


def _backfill(parser: ArgumentParser) -> None:
    _run_id(parser)
    word = parser.add_mutually_exclusive_group()
    word.add_argument(
        "--pause", dest="control", action="store_const", const=Control.PAUSE, help=_("Halt behind the batch.")
    )
    word.add_argument(
        "--go-on", dest="control", action="store_const", const=Control.GO_ON, help=_("End the pause.")
    )
    word.add_argument(
        "--cancel",
        dest="control",
        action="store_const",
        const=Control.CANCEL,
        help=_("Stop the run behind the batch; what is done stays done, and `resume` goes on."),
    )
    word.add_argument(
        "--retry-quarantined",
        action="store_true",
        help=_("Do the rows again that were set aside, after they were mended."),
    )
    parser.add_argument(
        "--target", type=_above_zero, metavar="SECONDS", help=_("How long a batch is to take from now on.")
    )
    parser.add_argument(
        "--max-rate", type=_count, metavar="ROWS", help=_("Rows a second from now on; 0 for no limit.")
    )


def _max_rate(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--max-rate", type=_count, metavar="ROWS", help=_("Rows a second that a backfill may do.")
    )


def _limit_rate(plan: Plan, max_rate: int | None) -> None:
    """For this process; the runbook stays as it is."""
    for planned in plan.steps:
        if max_rate is not None and isinstance(planned.step, Backfill):
            planned.step.max_rate = max_rate


def _word(options: dict[str, Any]) -> dict[str, Any]:
    """What the operator wants of a backfill that is under way."""
    words = {name: options[name] for name in ("control", "target", "max_rate")}
    return {name: value for name, value in words.items() if value is not None}


def _above_zero(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise ValueError(text)
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def _labels(parser: ArgumentParser) -> None:
    parser.add_argument("labels", nargs="*", metavar="LABEL", help=_("app_label or app_label.Model"))
    parser.add_argument("--all", action="store_true", help=_("Every model of every app."))
    parser.add_argument("--exclude", action="append", default=[], metavar="LABEL", help=_("Leave this out."))
    parser.add_argument(
        "--verify", metavar="FILE", help=_("Write nothing: compare a file with its manifest instead.")
    )
    parser.add_argument(
        "--against-database",
        action="store_true",
        help=_("With --verify: compare it with what the same export gives now, too."),
    )


def _files(parser: ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help=_("A JSON or JSON lines fixture, compressed or not.")
    )
    parser.add_argument(
        "--insert-only", action="store_true", help=_("Refuse rows that are there instead of replacing them.")
    )


SUBCOMMANDS: dict[str, tuple[str, Any]] = {
    "list": (_("Runbooks, and where each stands on this database."), _no_arguments),
    "plan": (_("What will happen, in which order and why; touches nothing."), _name),
    "check": (_("Everything that can be known before step one; touches nothing."), _examined),
    "rehearse": (
        _("The same run on a restored copy of the backup: how long each step takes, and what it blocks."),
        _rehearsed,
    ),
    "run": (_("Do it: check, back up, migrate, move, verify, export, restart."), _run),
    "resume": (_("Go on after a failure, a kill or a power cut."), _resume),
    "undo": (_("Back to the state before the run, if that loses nothing; says what it would lose."), _run_id),
    "status": (_("Where a run stands, and what is safe to do next."), _status),
    "report": (_("What a run did, step by step."), _run_id),
    "backup": (_("Take a backup, without a run."), _backup),
    "restore": (_("Bring back exactly the state of a backup; loses what was written since."), _backup_file),
    "backfill": (
        _("Where a run's backfills stand; pause, go on, cancel or slow down one that is under way."),
        _backfill,
    ),
    "export": (_("Write fixtures with the models that match the database, whatever its schema."), _labels),
    "load": (_("Load fixtures, ours or those of dumpdata, in bulk: all of them or nothing."), _files),
}
