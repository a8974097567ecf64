"""Restart a service, and wait until it answers that it is healthy."""

from __future__ import annotations

import os
import signal
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.utils.translation import gettext as _

from django_runbook.conf import service_settings
from django_runbook.exceptions import ProgramFailed, Unhealthy
from django_runbook.programs import run_program
from django_runbook.schema.nature import is_contracting
from django_runbook.steps.base import Context, Place, Problem, Step

POLL_EVERY = timedelta(milliseconds=250)
ANSWER_WITHIN = timedelta(seconds=5)
SYSTEMCTL = "systemctl"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""A health address is asked directly: a proxy of the environment does not see this machine's services."""


class Restart(Step):
    """Restart a service by name, or by a command, then ask `health` until it answers 200 or time is over.

    How a named service is restarted here is in RUNBOOK["SERVICES"][name]: `pid_file` (SIGHUP, as gunicorn
    wants it), `command`, or `systemd` (a unit); without an entry, `systemctl restart NAME`. The entry's
    `health` is used where the step names none.
    """

    repeatable = True
    acts_outside = True

    def __init__(
        self,
        service: str | Sequence[str],
        *,
        health: str | None = None,
        deadline: timedelta = timedelta(seconds=60),
    ) -> None:
        self.service = service if isinstance(service, str) else ""
        self.command = [] if isinstance(service, str) else list(service)
        self.health = health
        self.deadline = deadline

    def declaration(self) -> str:
        what = f'"{self.service}"' if self.service else repr(self.command)
        return f"Restart({what}{f', health={self.health!r}' if self.health else ''})"

    @property
    def title(self) -> str:
        return f"Restart {self.service or ' '.join(self.command)}"

    def problems(self, place: Place) -> Iterator[Problem]:
        if not self.service and not self.command:
            yield Problem(message=_('It names nothing to restart: write Restart("gunicorn").'))
        url = self.health_url()
        if url and urlsplit(url).scheme not in ("http", "https"):
            yield Problem(
                message=_("The health address must be an http(s) URL: %(url)s") % {"url": bare(url)}
            )
        needed = _needed_by_new_code(place)
        if needed:
            yield Problem(
                message=_("The new code needs %(app)s.%(migration)s, which is not applied here.")
                % {"app": needed[0], "migration": needed[1]},
                migration=needed,
            )

    def reason(self, place: Place) -> str:
        return _("the schema has what the new code needs")

    def run(self, context: Context) -> Mapping[str, Any]:
        drained = self._restart(context)
        url = self.health_url()
        until = time.monotonic() + self.deadline.total_seconds()
        _wait(drained, until, _("the old worker processes did not end"))
        if not url:
            return {"health": _("not asked: the step names no URL")}
        _wait(lambda: unhealthy(url), until, "")
        return {"health": _("%(url)s answers 200") % {"url": bare(url)}}

    def health_url(self) -> str:
        """The address that says whether the service is well; empty if none is known."""
        return self.health or service_settings(self.service).get("health", "")

    @property
    def pid_file(self) -> Path | None:
        """The file with the process that is told to reload; None if a command restarts the service."""
        configured = service_settings(self.service)
        return Path(configured["pid_file"]) if "pid_file" in configured else None

    def restart_command(self) -> list[str]:
        """The program that restarts the service, with its arguments."""
        return list(
            self.command or service_settings(self.service).get("command") or [SYSTEMCTL, "restart", self.unit]
        )

    @property
    def unit(self) -> str:
        """The name under which systemd would know it."""
        return str(service_settings(self.service).get("systemd", self.service))

    def _restart(self, context: Context) -> Callable[[], str]:
        """Restart it. Return a question whose answer is empty once the old processes are gone."""
        if self.pid_file:
            return _hang_up(self.pid_file)
        run_program(self.restart_command(), timeout=self.deadline, secrets=context.database.secrets)
        return lambda: ""


def _needed_by_new_code(place: Place) -> tuple[str, str] | None:
    applied = set(place.applied)
    needed = None
    for key in place.history.pending(applied):
        if not is_contracting(place.history.migration(key), place.history.state(applied)):
            needed = key
        applied.add(key)
    return needed


def _hang_up(pid_file: Path) -> Callable[[], str]:
    try:
        pid = int(pid_file.read_text())
        old = _children(pid)
        os.kill(pid, signal.SIGHUP)
    except (OSError, ValueError) as error:
        raise ProgramFailed(
            _("The service cannot be told to reload: %(file)s names no running process (%(error)s).")
            % {"file": pid_file, "error": error},
            _("Start the service."),
        ) from error

    def remaining() -> str:
        left = old & _children(pid)
        return ", ".join(map(str, sorted(left)))

    return remaining


def _children(pid: int) -> set[int]:
    try:
        return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    except OSError:
        return set()


def _wait(problem: Callable[[], str], until: float, what: str) -> None:
    while last := problem():
        if time.monotonic() > until:
            raise Unhealthy(
                _("The service did not become healthy in time: %(last)s")
                % {"last": f"{what}: {last}" if what else last},
                _("Mend the service; it is restarted and asked again."),
            )
        time.sleep(POLL_EVERY.total_seconds())


def unhealthy(url: str) -> str:
    """What is wrong with the answer of `url`; empty if it answers 200."""
    try:
        with ask(url, ANSWER_WITHIN) as answer:
            return "" if answer.status == 200 else f"{bare(url)}: {answer.status}"
    except urllib.error.HTTPError as error:
        return f"{bare(url)}: {error.code} {error.read(300).decode(errors='replace')}"
    except (OSError, ValueError, HTTPException) as error:
        return f"{bare(url)}: {error}"


def ask(url: str, within: timedelta) -> Any:
    """Open `url` as the step does, with its user name and password if it has any. Raise as `urllib` does."""
    parts = urlsplit(url)
    request = urllib.request.Request(bare(url))  # noqa: S310 - `problems` has looked at the scheme
    if parts.username:
        words = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", f"Basic {b64encode(words.encode()).decode()}")
    return _DIRECT.open(request, timeout=within.total_seconds())


def bare(url: str) -> str:
    """`url` without a user name and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
