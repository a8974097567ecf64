"""Runs of the example project that are stopped where a test wants, and what is compared before and after.

`Drill` puts a runbook with every kind of step into the project. Each step can pause in its middle; the pause
says on a file that it is reached, so that a test strikes there and nowhere else:

    drill = start_drill(project)
    drill.kill_at("backfill", "run", "drill")
    runbook(project, "resume")
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from django.db import ConnectionHandler, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from example_project import EXAMPLE, Ended, Project

from django_runbook.journal import JOURNAL_FILE, Entry, Event, RunState, RunStatus, read_journal, replay

SERVICES = 100
ADDED = 1000
"""What the drill's backfill adds to each row: done twice, it would show."""
ALIAS = "drill"
"""Of a project's database, in this process."""
PATIENCE = 60
"""Seconds until a handshake that does not come fails the test."""

PAUSES = '''
"""Pauses that a test asks for, once each."""

import os
import time
from pathlib import Path


def pause(where):
    folder = Path(os.environ.get("PAUSES", "/nonexistent"))
    if os.environ.get("PAUSE_AT") != where or (folder / where).exists():
        return
    (folder / where).write_text(str(os.getpid()))
    for _ in range(6000):
        if (folder / "release").exists():
            return
        time.sleep(0.01)
'''

DRILL = '''
"""Every kind of step; each pauses in its middle if it is asked to."""

import os
from dataclasses import replace
from datetime import timedelta

from core.backfills import MoveServicesToSousDirections
from core.pauses import pause
from django.db.models import F

from django_runbook import Backfill, Backup, Command, Export, Migrate, NoRows, Restart, Runbook, Verify


class PausingBackup(Backup):
    """Pauses when the dump is written and not yet named."""

    def run(self, context):
        dumper = type(context.database.dumper)
        dump = dumper.dump

        def pausing(self, target, **terms):
            content = dump(self, target, **terms)
            pause("backup")
            return content

        dumper.dump = pausing
        try:
            return super().run(context)
        finally:
            dumper.dump = dump


class AddOnce(Backfill):
    """Not idempotent. Pauses in the third batch, after its update and before its commit."""

    model = "core.Service"
    fills = ["effectif"]
    batch_size = 10
    calls = 0

    def batch(self, rows):
        rows.update(effectif=F("effectif") + 1000)
        self.calls += 1
        if self.calls == 3:
            pause("backfill")


class PausingExport(Export):
    """Pauses when rows are written and the file is not yet named."""

    def run(self, context):
        def progress(**facts):
            context.progress(**facts)
            pause("export")

        return super().run(replace(context, progress=progress))


def every_service_has_its_thousand(apps):
    pause("verify")
    return not apps.get_model("core", "Service").objects.filter(effectif__lt=1000).exists()


PAUSING_COMMAND = """
if [ "$PAUSE_AT" = command ] && [ ! -e "$PAUSES/command" ]; then
    echo $$ > "$PAUSES/command.new"
    mv "$PAUSES/command.new" "$PAUSES/command"
    exec sleep 60
fi
"""


class Drill(Runbook):
    """One of each."""

    steps = [
        PausingBackup(),
        Migrate("core", "0033"),
        Migrate("core", "0034"),
        Backfill(MoveServicesToSousDirections),
        Backfill(AddOnce),
        Verify(
            NoRows("core.Service", direction__isnull=False, sous_direction__isnull=True),
            every_service_has_its_thousand,
        ),
        PausingExport("core.Service"),
        Command(["sh", "-c", PAUSING_COMMAND], repeatable=True),
        Restart(["true"], health=os.environ.get("DRILL_HEALTH"), deadline=timedelta(seconds=60)),
    ]
'''

PAUSE_IN_0033 = (
    'migrations.AlterUniqueTogether(name="service", unique_together=set()),',
    'migrations.AlterUniqueTogether(name="service", unique_together=set()),\n'
    '        migrations.RunPython(lambda apps, schema_editor: pause("migrate"), migrations.RunPython.noop),',
)


class HealthPage:
    """An HTTP server whose one page answers `status`, or nothing at all while `hangs`."""

    def __init__(self) -> None:
        self.status = 200
        self.hangs = False
        self.questions = 0
        self.closing = threading.Event()
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page.questions += 1
                if page.hangs:
                    page.closing.wait(PATIENCE)
                with suppress(OSError):
                    self.send_response(page.status)
                    self.end_headers()
                    self.wfile.write(b"as the test wants")

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/sante/"

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Running:
    """A management command under way."""

    def __init__(self, project: Project, *words: str, **env: str) -> None:
        self.words = words
        self.process = project.start("manage.py", *words, PYTHONDONTWRITEBYTECODE="1", **env)

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Wait until it is so. Raise AssertionError, with what the process said, if it ends before."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                said = "\n".join(self.process.communicate())
                raise AssertionError(f"{self.words}: no {what}, exit code {self.process.returncode}:\n{said}")
            time.sleep(0.01)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> Ended:
        """Wait for its end."""
        stdout, stderr = self.process.communicate(timeout=PATIENCE)
        return Ended(self.words, self.process.returncode, stdout, stderr)


class Drill:
    """The drill runbook in a project, and the means to strike at each of its steps."""

    def __init__(self, project: Project, health: HealthPage) -> None:
        self.project = project
        self.health = health
        self.pauses = project.folder / "pauses"
        self.pauses.mkdir()
        self.started: list[Running] = []
        (project.folder / "core/pauses.py").write_text(PAUSES)
        (project.folder / "core/runbooks/drill.py").write_text(DRILL)
        (project.folder / "core/runbooks/sous_directions.py").unlink()
        migration = project.folder / "core/migrations/0033_sous_direction.py"
        source = migration.read_text()
        assert PAUSE_IN_0033[0] in source
        migration.write_text(f"from core.pauses import pause\n{source.replace(*PAUSE_IN_0033)}")

    @property
    def env(self) -> dict[str, str]:
        return {"PAUSES": str(self.pauses), "DRILL_HEALTH": self.health.url}

    def runbook(self, *words: str, exit: int = 0) -> Ended:
        """Run a command to its end, without a pause."""
        return runbook(self.project, *words, exit=exit, **self.env)

    def pause_at(self, where: str, *words: str) -> Running:
        """Start `runbook …` and wait until it pauses in that step, which the journal calls started."""
        self.health.status = 503 if where == "restart" else 200
        asked = self.health.questions
        running = Running(self.project, "runbook", *words, **self.env, PAUSE_AT=where)
        self.started.append(running)
        running.wait_for(lambda: where in started_step(self.project), f"started step of kind {where}")
        if where == "restart":
            running.wait_for(lambda: self.health.questions > asked, "question about its health")
        else:
            running.wait_for((self.pauses / where).exists, f"pause at {where}")
        return running

    def stop_at(self, where: str, number: signal.Signals, *words: str) -> Ended:
        """Send a signal in the middle of a step, then let the step go on if it wants to."""
        running = self.pause_at(where, *words)
        running.send(number)
        release = self.pauses / "release"
        release.touch()
        try:
            return running.end()
        finally:
            release.unlink()
            self.health.status = 200
            self._end_command()

    def kill_at(self, where: str, *words: str) -> None:
        """SIGKILL in the middle of a step."""
        running = self.pause_at(where, *words)
        running.send(signal.SIGKILL)
        assert running.end().returncode == -signal.SIGKILL
        self.health.status = 200
        self._end_command()

    def end(self) -> None:
        for running in self.started:
            if running.process.returncode is None:
                running.process.kill()
                running.process.communicate()
        self._end_command()

    def _end_command(self) -> None:
        """End the program that a killed run left behind; of a stopped run there is none."""
        marker = self.pauses / "command"
        if marker.exists() and marker.read_text().strip():
            with suppress(ProcessLookupError):
                os.kill(int(marker.read_text()), signal.SIGKILL)
            marker.write_text("")


def at_start(project: Project) -> Project:
    """Put the database at core.0032, and the messages into the language of these tests."""
    settings = project.folder / "ediligence/settings.py"
    settings.write_text(settings.read_text().replace('LANGUAGE_CODE = "fr"', 'LANGUAGE_CODE = "en"'))
    return project.at_0032(services=SERVICES)


def runbook(project: Project, *words: str, exit: int = 0, **env: str) -> Ended:
    """Run `manage.py runbook …`. Raise AssertionError, with what it said, for another exit code."""
    return manage(project, "runbook", *words, exit=exit, **env)


def manage(project: Project, *words: str, exit: int = 0, **env: str) -> Ended:
    ended = project.manage(*words, check=False, PYTHONDONTWRITEBYTECODE="1", **env)
    assert ended.returncode == exit, f"{words} ended with {ended.returncode}:\n{ended.stdout}\n{ended.stderr}"
    assert "Traceback" not in ended.stderr, ended.stderr
    return ended


def write_runbook(
    project: Project,
    name: str,
    *steps: str,
    code: str = "",
    folder: str = "core/runbooks",
    on_failure: str = "stop",
) -> Path:
    """Write a runbook of these steps, each as it stands in the list; `code` goes above the class."""
    path = project.folder / folder / f"{name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"        {step},\n" for step in steps)
    path.write_text(
        '"""A runbook of a test."""\n\n'
        "from datetime import timedelta\n\n"
        "from core.backfills import MoveServicesToSousDirections\n\n"
        "from django_runbook import *\n\n\n"
        f"{code}\n\n"
        "class Written(Runbook):\n"
        '    """Of a test."""\n\n'
        f"    on_failure = {on_failure!r}\n"
        f"    steps = [\n{lines}    ]\n"
    )
    return path


@contextmanager
def connected(project: Project) -> Iterator[BaseDatabaseWrapper]:
    """A connection to the project's database in this process, which is faster than a command."""
    spec = importlib.util.spec_from_file_location("database_url", EXAMPLE / "ediligence/database_url.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    place = {"default": module.parse_database_url(project.database_url)}
    connections.settings[ALIAS] = ConnectionHandler(place).settings["default"]
    try:
        yield connections[ALIAS]
    finally:
        connections[ALIAS].close()
        del connections[ALIAS], connections.settings[ALIAS]


def content(project: Project) -> dict[str, Any]:
    """Every table but the ledger's: columns, constraints and rows."""
    tables = {}
    with connected(project) as connection, connection.cursor() as cursor:
        about = connection.introspection
        for table in about.table_names(cursor):
            if not table.startswith("django_runbook_"):
                columns = [
                    (it.name, it.type_code, it.null_ok) for it in about.get_table_description(cursor, table)
                ]
                constraints = sorted(map(repr, about.get_constraints(cursor, table).items()))
                cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
                rows = sorted(map(repr, cursor.fetchall()))
                tables[table] = {"columns": columns, "constraints": constraints, "rows": rows}
    return tables


def without_content_types(tables: dict[str, Any]) -> dict[str, Any]:
    """Django makes these after migrating, and leaves them when it migrates back."""
    made = {"django_content_type", "auth_permission"}
    return {name: {**table, "rows": None} if name in made else table for name, table in tables.items()}


def select(project: Project, sql: str) -> list[tuple[Any, ...]]:
    with connected(project) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return [tuple(row) for row in cursor.fetchall()]


def execute(project: Project, sql: str) -> None:
    with connected(project) as connection, connection.cursor() as cursor:
        cursor.execute(sql)


def numbers(project: Project) -> dict[int, int]:
    """What the drill's backfill adds to, by service."""
    return dict(select(project, "SELECT id, effectif FROM core_service"))


def all_moved(project: Project) -> bool:
    """Has each service with a direction a sous-direction of that direction, and no other one any?"""
    rows = select(
        project,
        "SELECT s.direction_id, d.direction_id FROM core_service s"
        " LEFT JOIN core_sousdirection d ON d.id = s.sous_direction_id",
    )
    return len(rows) == SERVICES and all(ours == theirs for ours, theirs in rows)


def ledger_tables(project: Project) -> list[str]:
    """On SQLite."""
    names = select(project, "SELECT name FROM sqlite_master WHERE name LIKE 'django_runbook_%'")
    return [name for (name,) in names]


def journals(project: Project) -> list[Path]:
    """Oldest first."""
    return sorted(project.runs.glob(f"*/{JOURNAL_FILE}"))


def journal(project: Project) -> Path:
    """The latest run's."""
    return journals(project)[-1]


def entries(project: Project) -> list[Entry]:
    """Of the latest run; empty if there is none."""
    found = journals(project)
    return read_journal(found[-1]) if found else []


def state(project: Project) -> RunState:
    return replay(entries(project))


def status(project: Project) -> RunStatus:
    return state(project).status


def events(project: Project) -> list[tuple[Event, str]]:
    return [(entry.event, entry.step) for entry in entries(project)]


def started_step(project: Project) -> str:
    """The key of the step that the latest run began and has not ended, or nothing."""
    steps = [entry for entry in entries(project) if entry.step and entry.event is not Event.PROGRESS]
    return steps[-1].step if steps and steps[-1].event is Event.STARTED else ""


@contextmanager
def nothing_touched(project: Project) -> Iterator[None]:
    """Raise AssertionError if the block changes the database, or a run in the run directory."""
    before = content(project), _run_files(project)
    yield
    assert content(project) == before[0]
    assert _run_files(project) == before[1]


def _run_files(project: Project) -> Mapping[str, bytes]:
    return {str(path): path.read_bytes() for path in project.runs.rglob("*") if path.is_file()}


def list_to_paste(ended: Ended) -> str:
    """The corrected list of steps in a message."""
    found = re.search(r"^steps = \[\n(?:    .*\n)*\]", f"{ended.stdout}\n{ended.stderr}", re.MULTILINE)
    assert found, ended.stderr
    return found.group()


def paste(path: Path, steps: str) -> None:
    """Put a list of steps into a runbook in the place of its own."""
    head, _, _ = path.read_text().partition("    steps = [")
    path.write_text(head + "".join(f"    {line}\n" for line in steps.splitlines()))
