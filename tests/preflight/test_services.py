"""Services that could not be restarted, or will hardly be healthy afterwards, are named before the run."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from django.test import override_settings
from library import runbook, start
from looking import found_by

from django_runbook.databases import Database
from django_runbook.plan import make_plan
from django_runbook.preflight import Finding, Severity
from django_runbook.steps import Restart, Step

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

WARNING, ERROR = Severity.WARNING, Severity.ERROR


def found(database: Database, *steps: Step, **service: object) -> list[Finding]:
    """Of a restart of "web", which is configured so."""
    plan = make_plan(runbook(*(steps or (Restart("web"),))), start())
    with override_settings(RUNBOOK={"SERVICES": {"web": service} if service else {}}):
        return found_by("runbook.P118", database, plan)


@contextmanager
def answering(status: int) -> Iterator[str]:
    asked: list[str] = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/health"
    finally:
        server.shutdown()
        server.server_close()
    assert asked == ["/health"]


@pytest.fixture
def pid_file(tmp_path: Path) -> Path:
    path = tmp_path / "web.pid"
    path.write_text(f"{os.getpid()}\n")
    return path


@pytest.mark.parametrize("status", [200, 500, 503])
def test_a_service_that_answers_or_waits_for_its_schema_is_sound(
    database: Database, pid_file: Path, status: int
) -> None:
    with answering(status) as url:
        assert found(database, pid_file=pid_file, health=url) == []


@pytest.mark.parametrize(
    ("status", "words"), [(404, "404 Not Found"), (400, "400 Bad Request"), (204, "204")]
)
def test_a_page_that_is_not_the_right_one_is_named(
    database: Database, pid_file: Path, status: int, words: str
) -> None:
    with answering(status) as url:
        [finding] = found(database, pid_file=pid_file, health=url)
    assert finding == Finding(
        id="runbook.P118",
        severity=WARNING,
        message=f"Restart web waits until {url} answers 200, and now it says: {words}.",
        hint="If the service is not stopped on purpose, correct the address. Ask it yourself: `curl -i "
        f"'{url}'`",
        subject="web",
    )


def test_a_service_that_nobody_hears_is_named_without_its_password(
    database: Database, pid_file: Path
) -> None:
    with answering(200) as url:
        secret = url.replace("http://", "http://user:geheim@")
        assert found(database, pid_file=pid_file, health=secret) == []
    [finding] = found(database, pid_file=pid_file, health=secret)
    assert finding.message == (
        f"Restart web waits until {url} answers 200, and now it says: [Errno 111] Connection refused."
    )
    assert "geheim" not in finding.hint


def test_each_address_is_asked_once(database: Database, pid_file: Path) -> None:
    with answering(200) as url:
        assert found(database, Restart("web"), Restart("web"), pid_file=pid_file, health=url) == []


def dead_process() -> int:
    ended = subprocess.Popen(["true"])
    ended.wait()
    return ended.pid


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (lambda: None, "{file}: No such file or directory"),
        (lambda: "", "{file} has no number of a process"),
        (lambda: "gunicorn", "{file} has no number of a process"),
        (dead_process, "{file} names process {content}, which is not there"),
    ],
)
def test_a_pid_file_without_a_process_is_named(
    database: Database, tmp_path: Path, content: Callable[[], object], problem: str
) -> None:
    file, text = tmp_path / "web.pid", content()
    if text is not None:
        file.write_text(str(text))
    [finding] = found(database, pid_file=file)
    assert finding == Finding(
        id="runbook.P118",
        severity=WARNING,
        message=f"Restart web would find no process to reload: {problem.format(file=file, content=text)}.",
        hint='Start the service, or correct `pid_file` in RUNBOOK["SERVICES"]["web"].',
        subject="web",
    )


def test_a_program_that_is_not_there_is_an_error(database: Database) -> None:
    [finding] = found(database, command=["/opt/nowhere/restart", "web"])
    assert finding == Finding(
        id="runbook.P118",
        severity=ERROR,
        message="Restart web runs the program /opt/nowhere/restart, which is not on PATH.",
        hint='Say how the service is restarted here: RUNBOOK["SERVICES"], with `pid_file`, `command` or '
        "`systemd`.",
        subject="web",
    )
    assert found(database, command=["true"]) == []


@pytest.mark.parametrize(
    ("answer", "severity", "message"),
    [
        ("echo not-found", ERROR, "Restart web: systemd has no unit 'site.service'."),
        ("echo loaded", None, ""),
        (
            "echo no bus; exit 1",
            WARNING,
            "Whether systemd has the unit of Restart web cannot be told: systemctl ended with exit code 1: "
            "no bus",
        ),
    ],
)
def test_a_unit_that_systemd_does_not_have_is_an_error(
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    severity: Severity | None,
    message: str,
) -> None:
    program = tmp_path / "systemctl"
    program.write_text(f'#!/bin/sh\n[ "$1" = show ] && [ "$4" = site.service ] || exit 9\n{answer}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    findings = found(database, systemd="site.service")
    assert [(it.severity, it.message) for it in findings] == ([(severity, message)] if severity else [])


def test_nothing_is_signalled(database: Database, pid_file: Path) -> None:
    """SIGHUP would end this very process."""
    assert found(database, pid_file=pid_file) == []
