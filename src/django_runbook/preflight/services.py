"""runbook.P118: the services that the plan restarts are there."""

from __future__ import annotations

import os
import shutil
import urllib.error
from collections.abc import Iterator
from datetime import timedelta
from http.client import HTTPException
from pathlib import Path

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.exceptions import ProgramFailed
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.programs import run_program
from django_runbook.steps import Command, Restart
from django_runbook.steps.restart import SYSTEMCTL, ask, bare

PATIENCE = timedelta(seconds=2)
"""For each service; a restart itself is more patient."""
MAY_BE_MEANT = 500
"""An answer from here on is what new code says that waits for its schema, or a page about maintenance."""


def check_services(plan: Plan, database: Database) -> Iterator[Finding]:
    """A restart that fails comes last, when everything else is done and the site is half new.

    Looks, and asks the health address as the step will; changes and signals nothing.
    """
    commands = [it.step for it in plan.steps if isinstance(it.step, Command)]
    asked = set()
    for planned in plan.steps:
        step = planned.step
        if isinstance(step, Restart):
            yield from _pid_file(step) if step.pid_file else _command(step, may_come=bool(commands))
            url = step.health_url()
            if url and url not in asked:
                asked.add(url)
                yield from _health(step, url)


def _pid_file(step: Restart) -> Iterator[Finding]:
    """A service that is down today may be up when its turn comes; one of another user stays that."""
    path = step.pid_file
    problem = _no_process(path) if path else ""
    if problem:
        yield _finding(
            step,
            _("%(step)s would find no process to reload: %(problem)s.")
            % {"step": step.title, "problem": problem},
            _('Start the service, or correct `pid_file` in RUNBOOK["SERVICES"]["%(service)s"].')
            % {"service": step.service},
        )
    elif path and not _may_signal(int(path.read_text())):
        yield _finding(
            step,
            _("%(step)s would have to signal process %(pid)s, which is another user's.")
            % {"step": step.title, "pid": path.read_text().strip()},
            _(
                "Run as the user of the service, or give it a `command` that may restart it, in "
                'RUNBOOK["SERVICES"]["%(service)s"].'
            )
            % {"service": step.service},
            Severity.ERROR,
        )


def _no_process(path: Path) -> str:
    try:
        pid = int(path.read_text())
    except OSError as error:
        return f"{path}: {error.strerror}"
    except ValueError:
        return _("%(file)s has no number of a process") % {"file": path}
    if pid <= 0 or not Path(f"/proc/{pid}").exists():
        return _("%(file)s names process %(pid)d, which is not there") % {"file": path, "pid": pid}
    return ""


def _may_signal(pid: int) -> bool:
    """Signal 0 is none: the kernel only says whether one would be allowed."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return False
    except ProcessLookupError:
        return True
    return True


def _command(step: Restart, *, may_come: bool) -> Iterator[Finding]:
    command = step.restart_command()
    if shutil.which(command[0]) is None:
        yield _finding(
            step,
            _("%(step)s runs the program %(program)s, which is not on PATH.")
            % {"step": step.title, "program": command[0]},
            _(
                'Say how the service is restarted here: RUNBOOK["SERVICES"], with `pid_file`, `command` or '
                "`systemd`."
            ),
            Severity.WARNING if may_come else Severity.ERROR,
        )
    elif command[0] == SYSTEMCTL and command[1:2] == ["restart"] and len(command) == 3:
        yield from _unit(step, command[2])


def _unit(step: Restart, unit: str) -> Iterator[Finding]:
    try:
        state = run_program([SYSTEMCTL, "show", "--property=LoadState", "--value", unit], timeout=PATIENCE)
    except ProgramFailed as error:
        yield _finding(
            step,
            _("Whether systemd has the unit of %(step)s cannot be told: %(error)s")
            % {"step": step.title, "error": error.message},
            _("Ask yourself: %(command)s") % {"command": f"`{SYSTEMCTL} status {unit}`"},
        )
        return
    if state.strip() == "not-found":
        yield _finding(
            step,
            _("%(step)s: systemd has no unit '%(unit)s'.") % {"step": step.title, "unit": unit},
            _(
                'Find its name with %(command)s, and put it into RUNBOOK["SERVICES"]["%(service)s"] as '
                "`systemd`."
            )
            % {"command": f"`{SYSTEMCTL} list-units --type=service`", "service": step.service or unit},
            Severity.ERROR,
        )


def _health(step: Restart, url: str) -> Iterator[Finding]:
    """Nobody there, or a page that is not the right one: it will hardly answer 200 afterwards."""
    try:
        with ask(url, PATIENCE) as answer:
            said = "" if answer.status == 200 else str(answer.status)
    except urllib.error.HTTPError as error:
        said = "" if error.code >= MAY_BE_MEANT else f"{error.code} {error.reason}"
        error.close()
    except urllib.error.URLError as error:
        said = str(error.reason)
    except (OSError, ValueError, HTTPException) as error:
        said = str(error)
    if said:
        yield _finding(
            step,
            _("%(step)s waits until %(url)s answers 200, and now it says: %(answer)s.")
            % {"step": step.title, "url": bare(url), "answer": said},
            _("If the service is not stopped on purpose, correct the address. Ask it yourself: %(command)s")
            % {"command": f"`curl -i '{bare(url)}'`"},
        )


def _finding(step: Restart, message: str, hint: str, severity: Severity = Severity.WARNING) -> Finding:
    return Finding(
        id="runbook.P118",
        severity=severity,
        message=message,
        hint=hint,
        subject=step.service or " ".join(step.command),
    )


CHECK = Check(
    id="runbook.P118",
    title=gettext_lazy("the services that the plan restarts are there"),
    look=check_services,
)
