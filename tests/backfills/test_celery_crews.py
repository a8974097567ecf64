"""Celery's workers on one backfill: killed, stopped and brought back, with brokers that fail
and messages that come twice."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from crewed import WITHOUT_FENCE, Brief, Marked
from gangs import Marksman, make_crewed, set_up_for_children
from harvest import counts, fill
from places import report_missing
from private_broker import BROKERS, PrivateBroker, private_broker
from private_server import ServerMissing, ends_with_its_parent, free_port
from sampling import some_cases_in_ci
from sheaves.celery import app

from django_runbook.backfills import crews
from django_runbook.backfills.crews import TAKE_PART, CeleryCrew
from django_runbook.backfills.runner import BackfillRun
from django_runbook.backfills.task import Task
from django_runbook.backfills.worker import Pace
from django_runbook.databases import Database
from django_runbook.exceptions import RunbookError

ROWS = 3000
SIZE = 10
BURIED = 2
"""So often a worker sleeps between two batches: the transaction of the next may have just begun."""
SERVERS = ("mariadb", "postgresql")
TWICE = 5
"""So often the same message comes when its backfill begins."""
MakeConducted = Callable[..., BackfillRun]


@dataclass(kw_only=True)
class Nodes:
    """Celery workers, each with one process in its pool, in place of any that is killed another one."""

    log: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    started: int = 0

    def start(self) -> None:
        self.started += 1
        worker = ["worker", "--pool", "prefork", "--concurrency", "1", "--hostname", f"{self.started}@test"]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [*ends_with_its_parent(), sys.executable, "-m", "celery", "-A", "sheaves", *worker],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,
            )
        self.running.append(process)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """The whole of it."""
        self.running.remove(process)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def group_of(self, pid: int) -> subprocess.Popen[bytes]:
        return next(it for it in self.running if os.getpgid(pid) == it.pid)


@pytest.fixture(scope="module")
def start_broker(request: pytest.FixtureRequest) -> Iterator[Callable[[str], PrivateBroker]]:
    """Call it with "redis" or "rabbitmq" to get the module's broker of that kind, running."""
    brokers: dict[str, PrivateBroker] = {}
    with ExitStack() as stack:

        def start(kind: str) -> PrivateBroker:
            if kind not in brokers:
                try:
                    brokers[kind] = stack.enter_context(private_broker(kind))
                except ServerMissing as error:
                    report_missing(request.config, kind, str(error))
            return brokers[kind]

        yield start


@pytest.fixture
def broker(request: pytest.FixtureRequest, start_broker: Callable[[str], PrivateBroker]) -> PrivateBroker:
    return start_broker(request.param)


@pytest.fixture
def marksman(tmp_path: Path) -> Marksman:
    return Marksman(marks=tmp_path / "marks")


@pytest.fixture
def set_up(harvest: Database, marksman: Marksman, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Call it with the URL of a broker to let this process and its children use that."""

    def use(url: str) -> None:
        # a queue for each test: what one leaves behind is not the next one's
        settings = {"CELERY_BROKER_URL": url, "CELERY_TASK_DEFAULT_QUEUE": f"test{time.time_ns()}"}
        set_up_for_children(monkeypatch, harvest, marksman.marks, **settings)
        for name, value in settings.items():
            monkeypatch.setitem(app.conf, name.removeprefix("CELERY_").lower(), value)

    return use


@pytest.fixture
def conducted(harvest: Database) -> MakeConducted:
    """Call it to get a backfill that Celery's workers do."""

    def make(task: type[Task] = Marked, **more: Any) -> BackfillRun:
        run = make_crewed(harvest, task, **more)
        run.crew = CeleryCrew(ledger=run.ledger, count=3)
        return run

    return make


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    made = Nodes(log=tmp_path / "celery.log")
    yield made
    for process in list(made.running):
        made.kill(process)


def send_again(run: BackfillRun) -> None:
    args = [run.database.alias, run.run_id, run.ledger.row.pk]
    with app.connection_for_write() as connection:  # the pool may have one to another test's broker
        for _time in range(TWICE):
            app.send_task(TAKE_PART, args=args, connection=connection)


@pytest.mark.parametrize(
    ("broker", "database"),
    some_cases_in_ci([(broker, database) for broker in BROKERS for database in SERVERS], one_in=4),
    indirect=True,
)
def test_each_row_is_done_once_whoever_dies_and_whatever_comes_twice(
    harvest: Database,
    broker: PrivateBroker,
    set_up: Callable[[str], None],
    nodes: Nodes,
    marksman: Marksman,
    conducted: MakeConducted,
):
    """Workers are killed, alone and with their parents; they are stopped, and woken when others have their
    rows; and the broker is killed, and is away for a while."""
    set_up(broker.url)
    fill(harvest, ROWS)
    for _number in range(3):
        nodes.start()

    def kill_with_its_parent(pid: int) -> None:
        marksman.shoot(signal.SIGSTOP, pid)
        nodes.kill(nodes.group_of(pid))
        nodes.start()

    def stop_for_longer_than_a_lease(pid: int) -> None:
        marksman.shoot(signal.SIGSTOP, pid)
        time.sleep(2)
        marksman.wake()

    harms = itertools.cycle(
        [
            lambda pid: marksman.shoot(signal.SIGKILL, pid),
            stop_for_longer_than_a_lease,
            kill_with_its_parent,
            lambda pid: broker.kill(),
            lambda pid: broker.start(),
        ]
    )
    done = 0

    def harm() -> None:
        nonlocal done
        if there := marksman.seen():
            next(harms)(marksman.random.choice(there))
            done += 1
        if done >= 5 and marksman.hits:
            run.ledger.write(max_rate=100_000)

    run = conducted(pace=Pace(target=None, size=SIZE, max_rate=250), safe_point=harm)
    send_again(run)
    run.execute()
    assert counts(harvest) == [1] * ROWS
    assert done >= 5
    assert marksman.hits
    if not broker.processes:
        broker.start()


@pytest.mark.parametrize("broker", ["redis"], indirect=True)
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize("fenced", [True, False])
def test_a_worker_that_comes_back_from_the_dead_does_no_row_again(
    harvest: Database,
    broker: PrivateBroker,
    set_up: Callable[[str], None],
    nodes: Nodes,
    marksman: Marksman,
    conducted: MakeConducted,
    monkeypatch: pytest.MonkeyPatch,
    fenced: bool,
):
    """It slept between two batches until its range was another's; without the fence it does rows again."""
    if not fenced:
        monkeypatch.setenv(WITHOUT_FENCE, "1")
    set_up(broker.url)
    fill(harvest, 600)
    for _number in range(2):
        nodes.start()
    run = conducted(Brief, pace=Pace(target=None, size=5, max_rate=100))
    taken_over = 0

    def bury_alive(marksman: Marksman) -> None:
        nonlocal taken_over
        if len(marksman.misses) >= BURIED or not (there := marksman.seen()):
            return
        before = len(marksman.misses)
        marksman.shoot(signal.SIGSTOP, there[0])
        if len(marksman.misses) > before:
            time.sleep(3)
            taken_over = sum(it.fence > 1 for it in run.ledger.ranges)
        marksman.wake()
        if len(marksman.misses) >= BURIED:
            run.ledger.write(max_rate=100_000)

    with marksman.shooting(0.3, bury_alive):
        run.execute()
    assert taken_over
    assert (counts(harvest) == [1] * 600) is fenced


@pytest.mark.parametrize("broker", ["redis"], indirect=True)
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_run_waits_for_workers_and_says_so(
    harvest: Database,
    broker: PrivateBroker,
    set_up: Callable[[str], None],
    nodes: Nodes,
    conducted: MakeConducted,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(crews, "PATIENCE", 0.1)
    set_up(broker.url)
    fill(harvest, 30)
    said: list[str] = []

    def progress(**facts: Any) -> None:
        if "halted" in facts and not said:
            said.append(facts["halted"])
            nodes.start()

    conducted(progress=progress).execute()
    assert said == ["no Celery worker takes part; `celery -A PROJECT worker` starts one"]
    assert counts(harvest) == [1] * 30


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_broker_that_is_not_there_is_told_at_once(
    harvest: Database, set_up: Callable[[str], None], conducted: MakeConducted, scheme: str
):
    set_up(f"{scheme}://127.0.0.1:{free_port()}")
    fill(harvest, 1)
    began = time.monotonic()
    with pytest.raises(RunbookError, match=r"Celery's broker cannot be reached: .*Connection refused"):
        conducted().execute()
    assert time.monotonic() - began < 10
    assert counts(harvest) == [0]
