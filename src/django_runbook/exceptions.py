"""What can go wrong, and the exit code that tells the operator what it means.

Every error carries two sentences: `message` says what happened and why, `hint` what to do next.
"""

from typing import ClassVar


class RunbookError(Exception):
    """A run stopped part-way; the database is in a known state. Exit code 1."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class Refused(RunbookError):
    """Nothing was touched, because what was asked for is wrong or unsafe now. Exit code 2."""

    exit_code: ClassVar[int] = 2


class Interrupted(RunbookError):
    """The operator stopped the run (Ctrl-C or SIGTERM) at a point where it can go on. Exit code 130."""

    exit_code: ClassVar[int] = 130


class PlanRefused(Refused):
    """The list of steps is in a wrong order, or names what does not exist at its place."""


class LockHeld(Refused):
    """Another session runs a runbook on this database."""


class JournalDamaged(Refused):
    """The run journal was edited, truncated, or belongs to another version."""


class JournalUnwritable(RunbookError):
    """The run journal cannot be written, so the run must not go on."""


class SessionLost(RunbookError):
    """The session that held the lock is gone; whatever runs now would run without it."""


class TimeLimitReached(RunbookError):
    """What was asked of the database took longer than it may; nothing was changed by it."""


class ProgramFailed(RunbookError):
    """A client program (pg_dump, mariadb-dump, systemctl …) failed; the message has its own words."""


class BackupFailed(RunbookError):
    """A backup could not be taken, or is not whole."""


class RestoreFailed(RunbookError):
    """A restore did not end in the state that the backup describes."""


class VerificationFailed(RunbookError):
    """An invariant does not hold."""


class Unhealthy(RunbookError):
    """A restarted service did not become healthy in time."""
