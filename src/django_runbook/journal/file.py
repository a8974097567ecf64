"""The journal's file: append-only, fsync'd, written by one process at a time.

A last line without its newline is what a power cut leaves; nothing that depends on it has happened, so it is
dropped.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from django.utils.translation import gettext as _

from django_runbook.exceptions import JournalDamaged, JournalUnwritable, LockHeld
from django_runbook.files import sync_folder
from django_runbook.journal.entries import NO_HASH, Entry, Event, chained_hash, parse_line
from django_runbook.journal.state import RunState, fold, not_opened, replay
from django_runbook.programs import redact

JOURNAL_FILE = "journal.jsonl"


def read_journal(path: Path) -> list[Entry]:
    """Read the whole lines of a journal. Raise JournalDamaged at the first that breaks the chain."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise JournalDamaged(
            _("The journal %(path)s cannot be read: %(error)s.") % {"path": path, "error": error.strerror},
            _("Give this user access to the file, or move the run's folder away to give the run up."),
        ) from error
    entries: list[Entry] = []
    previous = NO_HASH
    for number, line in enumerate(raw.split(b"\n")[:-1], start=1):
        entry = parse_line(line, number, previous, path)
        entries.append(entry)
        previous = entry.hash
    return entries


class Journal:
    """An open journal: the only way to write one. Held by one process at a time."""

    def __init__(
        self,
        path: Path,
        *,
        announce: Callable[[Entry], None] = lambda entry: None,
        secrets: Sequence[str] = (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.path = path
        self.announce = announce
        self.secrets = secrets
        self.now = now
        self.entries: list[Entry] = []
        self._state: RunState | None = None
        self._file = -1

    def __enter__(self) -> Self:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            self._file = os.open(self.path, flags, 0o600)
            _take(self._file, self.path)
            self.entries = read_journal(self.path)
            self._state = replay(self.entries) if self.entries else None
            self._drop_torn_line()
            sync_folder(self.path.parent)
        except BaseException as error:
            self.__exit__()
            if isinstance(error, OSError):
                raise self._unwritable(error) from error
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    @property
    def state(self) -> RunState:
        if self._state is None:
            raise not_opened()
        return self._state

    @property
    def folder(self) -> Path:
        return self.path.parent

    def record(self, event: Event, step: str = "", /, **facts: Any) -> Entry:
        """Append one line and announce it. On return it is on the disk.

        Raise JournalUnwritable if it cannot be written; the file is then as it was.
        """
        with _signals_held():
            entry = self._append(event, step, _redacted(facts, self.secrets))
        self.announce(entry)
        return entry

    def _append(self, event: Event, step: str, facts: Mapping[str, Any]) -> Entry:
        previous = self.entries[-1].hash if self.entries else NO_HASH
        body = {
            "seq": len(self.entries) + 1,
            "at": self.now().isoformat(),
            "event": event.value,
            "step": step,
            "facts": facts,
        }
        line = (
            json.dumps({**body, "hash": chained_hash(body, previous)}, ensure_ascii=False, default=str) + "\n"
        )
        self._write(line.encode())
        entry = parse_line(line.encode().rstrip(b"\n"), len(self.entries) + 1, previous, self.path)
        self._state = fold(self._state, entry)
        self.entries.append(entry)
        return entry

    def _write(self, line: bytes) -> None:
        length = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, line)
            if written != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, length)
            raise self._unwritable(error) from error

    def _drop_torn_line(self) -> None:
        raw = self.path.read_bytes()
        os.ftruncate(self._file, raw.rfind(b"\n") + 1)

    def _unwritable(self, error: OSError) -> JournalUnwritable:
        return JournalUnwritable(
            _("The journal %(path)s cannot be written: %(error)s. A run without a journal must not go on.")
            % {"path": self.path, "error": error.strerror},
            _("Make room, or give this user access; then run `manage.py runbook resume`."),
        )


def find_runs(directory: Path) -> list[Path]:
    """Journals of all runs in the run directory, oldest first."""
    return sorted(directory.glob(f"*/{JOURNAL_FILE}"))


def is_held(path: Path) -> bool:
    """Is a process writing this journal right now?"""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _take(file: int, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise LockHeld(
            _("Run %(run)s is being worked on by another process.") % {"run": path.parent.name},
            _("Watch it with `manage.py runbook status --watch`."),
        ) from error


@contextmanager
def _signals_held() -> Iterator[None]:
    """Deliver Ctrl-C and SIGTERM after the block, so that file and memory never disagree."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _redacted(value: Any, secrets: Sequence[str]) -> Any:
    match value:
        case str():
            return redact(value, secrets)
        case Mapping():
            return {key: _redacted(item, secrets) for key, item in value.items()}
        case list() | tuple():
            return [_redacted(item, secrets) for item in value]
        case _:
            return value
