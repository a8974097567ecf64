"""The run journal: the append-only truth about steps, and `replay`, which folds it into a state.

One JSON object a line, fsync'd, each with the hash of the line before. It lies outside the database, so
a restore does not rewind it. A last line without its newline is what a power cut leaves; nothing that
depends on it has happened, so it is dropped.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from django.utils.translation import gettext as _

from django_runbook.exceptions import JournalDamaged, JournalUnwritable, LockHeld
from django_runbook.programs import redact

JOURNAL_FILE = "journal.jsonl"
FORMAT = 1
NO_HASH = "0" * 64


class Event(StrEnum):
    """What a line of the journal says."""

    OPENED = "opened"
    """The run exists: its plan, its database and the migrations applied before it."""
    MEASURED = "measured"
    """What invariants of the kind "as before the run" will be compared with."""
    RESUMED = "resumed"
    """The run goes on; carries the plan as it reads now."""
    STARTED = "started"
    """A step is about to act. Without an outcome after it, the process was killed."""
    PROGRESS = "progress"
    """How far a step is; decides nothing."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """A step ended with an error: definitive, nothing is in doubt."""
    INTERRUPTED = "interrupted"
    """The operator stopped a step, and it reported where."""
    FINISHED = "finished"
    """All steps have succeeded. Closes the run."""
    RESTORING = "restoring"
    """The database is about to be replaced by the run's backup."""
    RESTORED = "restored"
    """The database is in the state of the backup. Closes the run."""
    UNDONE = "undone"
    """Nothing of the run is left in the database. Closes the run."""


class StepStatus(StrEnum):
    """Where a step stands."""

    WAITING = "waiting"
    IN_DOUBT = "in doubt"
    """Started, and no outcome: running now, or killed."""
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    SUCCEEDED = "succeeded"


class RunStatus(StrEnum):
    """Where a run stands, by its journal alone; whether it is running now the lock tells."""

    STARTED = "started"
    """Neither ended nor closed: running now, or killed."""
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    FINISHED = "finished"
    RESTORING = "restoring"
    """A restore began and did not report its end: the database may be incomplete."""
    RESTORED = "restored"
    UNDONE = "undone"


CLOSED = frozenset({RunStatus.FINISHED, RunStatus.RESTORED, RunStatus.UNDONE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a journal."""

    seq: int
    """1 for the first line."""
    at: datetime
    event: Event
    step: str = ""
    """Key of the step it speaks of, or empty for the run."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    hash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """What the journal says of one step."""

    key: str
    title: str
    reason: str
    fingerprint: str
    status: StepStatus = StepStatus.WAITING
    attempts: int = 0
    started: datetime | None = None
    """Start of the last attempt."""
    ended: datetime | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Latest progress, then the outcome's facts."""
    error: str = ""

    @property
    def done(self) -> bool:
        return self.status is StepStatus.SUCCEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """What the journal says of a run."""

    run_id: str
    runbook: str
    """Label of the runbook, or "pending"."""
    covers: tuple[str, ...]
    """Labels of the runbooks that are completed when this run is."""
    alias: str
    database: Mapping[str, str]
    """Identity of the database, without secrets."""
    applied: frozenset[tuple[str, str]]
    """Migrations applied when the run was opened."""
    opened: datetime
    steps: Mapping[str, StepState]
    status: RunStatus = RunStatus.STARTED
    closed: datetime | None = None
    baseline: Mapping[str, Any] | None = None
    backup: str = ""
    """Path of the manifest of the run's latest whole backup."""

    @property
    def is_closed(self) -> bool:
        return self.status in CLOSED

    @property
    def current(self) -> StepState | None:
        """The step that acted last and has not succeeded, or the next one to come."""
        return next((step for step in self.steps.values() if not step.done), None)


def replay(entries: Iterable[Entry]) -> RunState:
    """Fold a journal's entries into the state they describe. Raise JournalDamaged if none opens a run."""
    state: RunState | None = None
    for entry in entries:
        state = fold(state, entry)
    if state is None:
        raise _not_opened()
    return state


def fold(state: RunState | None, entry: Entry) -> RunState:
    """The state after one more entry; the first one must open the run."""
    if state is None:
        if entry.event is not Event.OPENED:
            raise _not_opened()
        return _opened(entry)
    return _FOLDS[entry.event](state, entry)


def _not_opened() -> JournalDamaged:
    return JournalDamaged(_("The journal does not begin with the opening of a run."), _move_aside())


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
        entry = _parse(line, number, previous, path)
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
            _sync_folder(self.path.parent)
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
            raise _not_opened()
        return self._state

    @property
    def folder(self) -> Path:
        return self.path.parent

    def record(self, event: Event, step: str = "", **facts: Any) -> Entry:
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
        line = json.dumps({**body, "hash": _hash(body, previous)}, ensure_ascii=False) + "\n"
        self._write(line.encode())
        entry = _parse(line.encode().rstrip(b"\n"), len(self.entries) + 1, previous, self.path)
        self._state = fold(self._state, entry)
        self.entries.append(entry)
        return entry

    def _write(self, line: bytes) -> None:
        length = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, line)
            if written != len(line):
                raise OSError(28, os.strerror(28))
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


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hash(body: Mapping[str, Any], previous: str) -> str:
    canonical = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{previous}\n{canonical}".encode()).hexdigest()


def _parse(line: bytes, number: int, previous: str, path: Path) -> Entry:
    try:
        body = json.loads(line)
        claimed = body.pop("hash")
        if claimed != _hash(body, previous) or body["seq"] != number:
            raise ValueError(claimed)
        return Entry(
            seq=number,
            at=datetime.fromisoformat(body["at"]),
            event=Event(body["event"]),
            step=body["step"],
            facts=body["facts"],
            hash=claimed,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise JournalDamaged(
            _(
                "Line %(number)d of %(path)s does not follow from the lines before it: the file was edited "
                "by hand or damaged. What the run did since cannot be trusted."
            )
            % {"number": number, "path": path},
            _move_aside(),
        ) from error


def _move_aside() -> str:
    return _(
        "Put the file back as it was and run `manage.py runbook resume`; or restore the run's backup with "
        "`manage.py runbook restore FILE` and move the run's folder away."
    )


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


def _opened(entry: Entry) -> RunState:
    facts = entry.facts
    return RunState(
        run_id=facts["run"],
        runbook=facts["runbook"],
        covers=tuple(facts["covers"]),
        alias=facts["alias"],
        database=facts["database"],
        applied=frozenset((app, name) for app, name in facts["applied"]),
        opened=entry.at,
        steps=_steps(facts["steps"], {}),
    )


def _steps(declared: Iterable[Mapping[str, str]], known: Mapping[str, StepState]) -> dict[str, StepState]:
    return {step["key"]: _step(step, known.get(step["key"])) for step in declared}


def _step(declared: Mapping[str, str], known: StepState | None) -> StepState:
    fresh = StepState(
        key=declared["key"],
        title=declared["title"],
        reason=declared["reason"],
        fingerprint=declared["fingerprint"],
    )
    if known is None:
        return fresh
    return replace(known, title=fresh.title, reason=fresh.reason, fingerprint=fresh.fingerprint)


def _resumed(state: RunState, entry: Entry) -> RunState:
    return replace(state, status=RunStatus.STARTED, steps=_steps(entry.facts["steps"], state.steps))


def _measured(state: RunState, entry: Entry) -> RunState:
    return replace(state, baseline=entry.facts)


def _started(state: RunState, entry: Entry) -> RunState:
    attempts = state.steps[entry.step].attempts + 1
    return _with_step(
        state, entry, status=StepStatus.IN_DOUBT, attempts=attempts, started=entry.at, ended=None, error=""
    )


def _progressed(state: RunState, entry: Entry) -> RunState:
    return _with_step(state, entry, facts=entry.facts)


def _succeeded(state: RunState, entry: Entry) -> RunState:
    state = replace(state, backup=entry.facts.get("backup", state.backup))
    return _with_step(state, entry, status=StepStatus.SUCCEEDED, ended=entry.at, facts=entry.facts, error="")


def _failed(state: RunState, entry: Entry) -> RunState:
    state = replace(state, status=RunStatus.FAILED)
    return _with_step(state, entry, status=StepStatus.FAILED, ended=entry.at, error=entry.facts["error"])


def _interrupted(state: RunState, entry: Entry) -> RunState:
    state = replace(state, status=RunStatus.INTERRUPTED)
    if not entry.step:
        return state
    return _with_step(state, entry, status=StepStatus.INTERRUPTED, ended=entry.at)


def _restoring(state: RunState, entry: Entry) -> RunState:
    return replace(state, status=RunStatus.RESTORING)


def _closed(status: RunStatus) -> Callable[[RunState, Entry], RunState]:
    return lambda state, entry: replace(state, status=status, closed=entry.at)


def _with_step(state: RunState, entry: Entry, **changes: Any) -> RunState:
    step = replace(state.steps[entry.step], **changes)
    return replace(state, steps={**state.steps, entry.step: step})


_FOLDS: Mapping[Event, Callable[[RunState, Entry], RunState]] = {
    Event.OPENED: lambda state, entry: state,
    Event.MEASURED: _measured,
    Event.RESUMED: _resumed,
    Event.STARTED: _started,
    Event.PROGRESS: _progressed,
    Event.SUCCEEDED: _succeeded,
    Event.FAILED: _failed,
    Event.INTERRUPTED: _interrupted,
    Event.FINISHED: _closed(RunStatus.FINISHED),
    Event.RESTORING: _restoring,
    Event.RESTORED: _closed(RunStatus.RESTORED),
    Event.UNDONE: _closed(RunStatus.UNDONE),
}
