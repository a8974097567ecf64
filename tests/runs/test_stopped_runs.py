"""Ctrl-C, SIGTERM and SIGKILL in every kind of step, then `resume`."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import pytest
from drill import ADDED, Drill, Running, all_moved, entries, numbers, started_step, state, status
from example_project import Project

from django_runbook.journal import Event, RunStatus, StepStatus

KINDS = ["backup", "migrate", "backfill", "verify", "export", "command", "restart"]
StartDrill = Callable[[Project], Drill]


@pytest.mark.parametrize(
    ("at_0032", "numbers_in_turn"),
    [
        ("sqlite", [signal.SIGINT]),
        ("mariadb", [signal.SIGTERM, signal.SIGINT]),
        ("postgresql", [signal.SIGINT, signal.SIGTERM]),
        ("sqlite", [signal.SIGTERM]),
    ],
    indirect=["at_0032"],
)
def test_a_run_stopped_in_every_kind_of_step_completes_with_each_row_done_once(
    at_0032: Project, start_drill: StartDrill, numbers_in_turn: list[signal.Signals]
) -> None:
    """By Ctrl-C and by SIGTERM: on SQLite each in every kind of step, elsewhere in turn."""
    drill = start_drill(at_0032)
    before = numbers(at_0032)
    words = ["run", "drill"]
    for kind, number in zip(KINDS, cycle(numbers_in_turn), strict=False):
        ended = drill.stop_at(kind, number, *words)
        assert ended.returncode == 130, (kind, ended)
        assert "manage.py runbook resume" in ended.stderr, (kind, ended)
        assert status(at_0032) is RunStatus.INTERRUPTED, kind
        assert not any(it.status is StepStatus.IN_DOUBT for it in state(at_0032).steps.values()), kind
        assert not list(at_0032.runs.rglob("*.partial")), kind
        words = ["resume"]
    drill.runbook("resume")
    assert_whole(at_0032, before)


def test_a_run_killed_in_every_kind_of_step_completes_with_each_row_done_once(
    at_0032: Project, start_drill: StartDrill
) -> None:
    drill = start_drill(at_0032)
    before = numbers(at_0032)
    words = ["run", "drill"]
    for kind in KINDS:
        drill.kill_at(kind, *words)
        assert kind in state(at_0032).current.key
        assert state(at_0032).current.status is StepStatus.IN_DOUBT, kind
        words = ["resume"]
    drill.runbook("resume")
    assert_whole(at_0032, before)


def assert_whole(project: Project, before: dict[int, int]) -> None:
    assert status(project) is RunStatus.FINISHED
    assert all(step.status is StepStatus.SUCCEEDED for step in state(project).steps.values())
    assert [it.event for it in entries(project)].count(Event.FINISHED) == 1
    assert numbers(project) == {pk: number + ADDED for pk, number in before.items()}
    assert all_moved(project)


@pytest.mark.parametrize("at_0032", ["mariadb", "postgresql"], indirect=True)
def test_a_stopped_backup_ends_its_client_program(at_0032: Project, start_drill: StartDrill) -> None:
    """A program first on PATH stands for a dump that takes long; it tells its version as the real one."""
    drill = start_drill(at_0032)
    name = {"mariadb": "mariadb-dump", "postgresql": "pg_dump"}[at_0032.kind]
    programs = at_0032.folder / "programs"
    programs.mkdir()
    program = programs / name
    pid = at_0032.folder / "pid"
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *--version*) exec {shutil.which(name)} "$@";; esac\n'
        f"echo half a dump\necho $$ > {pid}.new\nmv {pid}.new {pid}\nexec sleep 60\n"
    )
    program.chmod(0o755)
    running = Running(
        at_0032, "runbook", "run", "drill", **drill.env, PATH=f"{programs}:{at_0032.env['PATH']}"
    )
    drill.started.append(running)
    running.wait_for(lambda: "backup" in started_step(at_0032) and pid.exists(), "client program")
    running.send(signal.SIGTERM)
    assert running.end().returncode == 130
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()
    assert not list(at_0032.runs.rglob("*.partial"))
    drill.runbook("resume")
    assert status(at_0032) is RunStatus.FINISHED
