"""runbook.P119: programs can be started, and what a run writes is private and stays."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.conf import backup_directory, run_directory
from django_runbook.databases import Database
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.steps import Command

MOUNTS = Path("/proc/self/mountinfo")
FORGETFUL = ("tmpfs", "ramfs")
REMOTE = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p")
SERVED = ("MEDIA_ROOT", "STATIC_ROOT")


def check_folders(plan: Plan, database: Database) -> Iterator[Finding]:
    """Backups and exports hold all the data there are; the journal has to outlive a power cut."""
    yield from _programs(plan)
    yield from _served()
    yield from _open_to_others()
    yield from _kind_of_disk()


def _programs(plan: Plan) -> Iterator[Finding]:
    """An earlier Command may install the program of a later one."""
    severity = Severity.ERROR
    for planned in plan.steps:
        step = planned.step
        if not isinstance(step, Command):
            continue
        if shutil.which(step.argv[0]) is None:
            yield _finding(
                severity,
                _("Step '%(step)s' runs the program %(program)s, which is not on PATH or may not be started.")
                % {"step": step.title, "program": step.argv[0]},
                _("Install it, or write its whole path into the step."),
                step.title,
            )
        severity = Severity.WARNING


def _served() -> Iterator[Finding]:
    directory = run_directory().resolve()
    for name in SERVED:
        served = getattr(settings, name, None)
        if served and directory.is_relative_to(Path(served).resolve()):
            yield _finding(
                Severity.ERROR,
                _(
                    "The run directory %(directory)s lies within %(setting)s, whose files a web server gives "
                    "to everybody: backups and exports could be downloaded."
                )
                % {"directory": directory, "setting": name},
                _('Set RUNBOOK["DIR"] to a folder that no web server serves.'),
                str(directory),
            )


def _open_to_others() -> Iterator[Finding]:
    """The folders of a run are made with mode 0700; one that was there before keeps its own."""
    directory, backups = run_directory(), backup_directory()
    for folder, mask in ((directory, 0o022), (backups, 0o077)):
        mode = stat.S_IMODE(folder.stat().st_mode) if folder.is_dir() else 0
        if mode & mask:
            yield _finding(
                Severity.WARNING,
                _(
                    "Other users of this machine may look into folder %(folder)s, or change it (mode "
                    "%(mode)s)."
                )
                % {"folder": folder, "mode": f"{mode:04o}"},
                f"chmod 700 '{folder}'",
                str(folder),
            )


def _kind_of_disk() -> Iterator[Finding]:
    directory = run_directory().resolve()
    kind = _file_system(directory)
    if kind in FORGETFUL:
        yield _finding(
            Severity.WARNING,
            _(
                "The run directory %(directory)s lies in memory (%(kind)s): after a restart of this machine "
                "the journal and the backup are gone, and no run can be resumed."
            )
            % {"directory": directory, "kind": kind},
            _('Set RUNBOOK["DIR"] to a folder on a disk.'),
            str(directory),
        )
    elif kind in REMOTE:
        yield _finding(
            Severity.WARNING,
            _(
                "The run directory %(directory)s lies on another machine (%(kind)s): a run stops when that "
                "cannot be reached, and its files may be readable there."
            )
            % {"directory": directory, "kind": kind},
            _('Set RUNBOOK["DIR"] to a folder on a disk of this machine.'),
            str(directory),
        )


def _file_system(path: Path) -> str:
    """The kind of the file system that `path` lies on, or will; empty where the kernel does not tell."""
    kinds = dict(_mounts())
    return next((kinds[place] for place in (path, *path.parents) if place in kinds), "")


def _mounts() -> Iterator[tuple[Path, str]]:
    """Of two mounts on one place the later one hides the earlier."""
    if not MOUNTS.exists():
        return
    for line in MOUNTS.read_text().splitlines():
        left, _dash, right = line.partition(" - ")
        place = left.split()[4].encode().decode("unicode_escape")
        yield Path(place), right.split()[0]


def _finding(severity: Severity, message: str, hint: str, subject: str) -> Finding:
    return Finding(id="runbook.P119", severity=severity, message=message, hint=hint, subject=subject)


CHECK = Check(
    id="runbook.P119",
    title=gettext_lazy("programs can be started, and what a run writes is private and stays"),
    look=check_folders,
)
