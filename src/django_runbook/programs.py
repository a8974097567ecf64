"""Client programs: started, streamed through in constant memory, and never left behind."""

from __future__ import annotations

import io
import os
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Thread
from typing import IO, Self, cast
from urllib.parse import quote

from django.utils.translation import gettext as _

from django_runbook.exceptions import ProgramFailed
from django_runbook.interrupts import held_signals

CHUNK = 256 * 1024
"""Bytes moved at a time."""
TAIL = 8 * 1024
"""Bytes of a program's output that are kept for messages."""
GRACE = timedelta(seconds=5)
"""From SIGTERM to SIGKILL."""


def run_program(
    argv: Sequence[str],
    *,
    timeout: timedelta | None = None,
    env: Mapping[str, str] | None = None,
    secrets: Iterable[str] = (),
) -> str:
    """Run a short command to its end and return the last 8 KB of what it said, without `secrets`.

    Raise ProgramFailed if it is missing, fails, or takes longer than `timeout`; then it is ended first.
    """
    pipes = Pipes(stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with running(argv, pipes, env=env, secrets=secrets) as program:
        program.wait(timeout)
    return program.words()


def read_program(
    argv: Sequence[str],
    target: IO[bytes],
    *,
    env: Mapping[str, str] | None = None,
    secrets: Iterable[str] = (),
) -> bytes:
    """Write a program's standard output to `target`, as it comes, and return its last 8 KB.

    Raise ProgramFailed, with the end of its standard error, if it is missing or fails.
    """
    tail = b""
    with running(argv, Pipes(stdout=subprocess.PIPE), env=env, secrets=secrets) as program:
        stdout = cast("io.BufferedReader", program.process.stdout)
        for chunk in iter(partial(stdout.read1, CHUNK), b""):
            target.write(chunk)
            tail = (tail + chunk)[-TAIL:]
        program.wait()
    return tail


@contextmanager
def reading_program(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, secrets: Iterable[str] = ()
) -> Iterator[IO[bytes]]:
    """Run a program within the block, which reads its standard output.

    The read that finds its end raises ProgramFailed if the program failed, so that nobody takes what came of
    it for all.
    """
    with running(argv, Pipes(stdout=subprocess.PIPE), env=env, secrets=secrets) as program:
        yield cast("IO[bytes]", Output(program))


class Output(io.RawIOBase):
    """A program's standard output, and at its end its success."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.stdout = cast("io.BufferedReader", program.process.stdout)

    def read(self, size: int = -1) -> bytes:
        chunk = self.stdout.read1(size)
        if not chunk:
            self.program.wait()
        return chunk


def feed_program(
    argv: Sequence[str],
    chunks: Iterable[bytes],
    *,
    env: Mapping[str, str] | None = None,
    secrets: Iterable[str] = (),
) -> None:
    """Write `chunks` to a program's standard input; its standard output is thrown away.

    Raise ProgramFailed, with the end of its standard error, if it is missing or fails. If `chunks` raises,
    the program is ended before it sees the end of its input, so that it cannot take a part for the whole.
    """
    with running(argv, Pipes(stdin=subprocess.PIPE), env=env, secrets=secrets) as program:
        assert program.process.stdin is not None  # noqa: S101 - for the type checker
        try:
            for chunk in chunks:
                program.process.stdin.write(chunk)
            program.process.stdin.close()
        except BrokenPipeError as exc:
            program.wait()
            raise program.failed(_("ended before it had read all of its input")) from exc
        program.wait()


def chunks_of(source: IO[bytes]) -> Iterator[bytes]:
    """Read a stream to its end, in pieces."""
    while chunk := source.read(CHUNK):
        yield chunk


def redact(text: str, secrets: Iterable[str]) -> str:
    """Replace every secret in `text`, as it is or percent-encoded, by three asterisks."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        for form in (secret, quote(secret, safe="")):
            text = text.replace(form, "***")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipes:
    """Where a program's streams go, in the numbers of `subprocess`."""

    stdin: int = subprocess.DEVNULL
    stdout: int = subprocess.DEVNULL
    stderr: int = subprocess.PIPE


class Program:
    """A started program in a process group of its own."""

    def __init__(self, argv: Sequence[str], process: subprocess.Popen[bytes], secrets: Iterable[str]) -> None:
        self.name = Path(argv[0]).name
        self.process = process
        self.secrets = list(secrets)
        self.tail = Tail(process.stderr or process.stdout)

    def wait(self, timeout: timedelta | None = None) -> None:
        """Wait for its end. Raise ProgramFailed if it is not a success, or not in time."""
        try:
            code = self.process.wait(timeout.total_seconds() if timeout else None)
        except subprocess.TimeoutExpired as exc:
            self.end()
            raise self.failed(_("did not end within %(timeout)s") % {"timeout": timeout}) from exc
        if code > 0:
            raise self.failed(_("ended with exit code %(code)d") % {"code": code})
        if code < 0:
            raise self.failed(_("was ended by %(signal)s") % {"signal": signal.Signals(-code).name})

    def failed(self, how: str) -> ProgramFailed:
        """Say how it failed, and its own last words."""
        words = self.words()
        message = f"{self.name} {how}: {words}" if words else f"{self.name} {how}."
        return ProgramFailed(message)

    def words(self) -> str:
        """The end of what it said, without the secrets."""
        return redact(self.tail.text(), self.secrets)[-TAIL:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        """End it if the block raises, whatever it raises (KeyboardInterrupt too)."""
        if kind is not None:
            self.end()
        close(self.process)
        self.tail.thread.join(timeout=1)

    def end(self) -> None:
        """Terminate its process group, and kill it if it does not end within the grace time."""
        if self.process.poll() is not None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE.total_seconds())
                return


class Tail:
    """The end of a stream, read in the background so that its writer never waits.

    Twice what messages show: a secret cut in two at the front must not be part of what is shown.
    """

    def __init__(self, stream: IO[bytes] | None) -> None:
        self.stream = stream
        self.end = b""
        self.thread = Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self) -> None:
        if self.stream is None:
            return
        with self.stream:
            while chunk := os.read(self.stream.fileno(), TAIL):
                self.end = (self.end + chunk)[-2 * TAIL :]

    def text(self) -> str:
        """What has come, complete unless a process that the program left behind still holds the stream."""
        self.thread.join(timeout=1)
        return self.end.decode(errors="replace").strip()


@contextmanager
def running(
    argv: Sequence[str], pipes: Pipes, *, env: Mapping[str, str] | None, secrets: Iterable[str]
) -> Iterator[Program]:
    """Start a program and end it if the block raises, also by a signal while it is being started."""
    with ExitStack() as stack:
        with held_signals():
            program = stack.enter_context(Program(argv, start(argv, pipes, env or {}), secrets))
        yield program


def start(argv: Sequence[str], pipes: Pipes, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            argv,
            env={**os.environ, **env},
            stdin=pipes.stdin,
            stdout=pipes.stdout,
            stderr=pipes.stderr,
            start_new_session=True,
        )
    except FileNotFoundError as exc:
        raise ProgramFailed(
            _("The program %(program)s was not found on PATH.") % {"program": argv[0]},
            _("Install it, or correct PATH."),
        ) from exc
    except OSError as exc:
        raise ProgramFailed(
            _("The program %(program)s could not be started: %(error)s.")
            % {"program": argv[0], "error": exc.strerror}
        ) from exc


def close(process: subprocess.Popen[bytes]) -> None:
    """Close the pipes that the caller used; what a dead program did not read is dropped."""
    streams = [process.stdin, process.stdout if process.stderr else None]
    for stream in filter(None, streams):
        with suppress(BrokenPipeError):
            stream.close()
