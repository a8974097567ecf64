"""A backup that was taken without a run, for the terminal and for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rich.console import Console, Group, RenderableType
from rich.text import Text

from django_runbook.backups import Level, Stage, Taken, mebibytes
from django_runbook.backups.progress import Report

STAGE_LABELS = {
    Stage.DUMPING: gettext_lazy("Dumping the database"),
    Stage.PROVING: gettext_lazy("Proving the dump by a restore"),
    Stage.COPYING: gettext_lazy("Copying the backup to the storage"),
}


def backup_to_text(taken: Taken) -> RenderableType:
    """Where it is, what is known of it, and what went."""
    manifest = taken.manifest
    lines = [
        _("Backup: %(path)s, %(bytes)d bytes, SHA-256 %(sha256)s")
        % {"path": manifest.dump_path, "bytes": manifest.bytes, "sha256": manifest.sha256},
        _("Made by %(dumper)s: %(reason)s") % {"dumper": manifest.dumper, "reason": manifest.dumper_reason},
    ]
    if manifest.level is Level.PROVEN:
        lines.append(
            _("Proven by a restore, which took %(seconds).1f s.") % {"seconds": manifest.restore_seconds}
        )
    else:
        lines.append(_("Not proven: %(reason)s") % {"reason": manifest.level_reason})
    if taken.storage:
        lines.append(_("Copied to the storage '%(alias)s', and read back.") % {"alias": taken.storage})
    if taken.swept:
        lines.append(_("Leftovers of killed backups removed: %(names)s") % _names(taken.swept))
    if taken.removed:
        lines.append(_("Old backups removed: %(names)s") % _names(taken.removed))
    if taken.not_removed:
        lines.append(_("Old backups that could not be removed: %(names)s") % _names(taken.not_removed))
    return Group(*(Text(line, overflow="fold") for line in lines))


def backup_to_json(taken: Taken) -> dict[str, Any]:
    """The manifest's keys, and storage; of what went: swept, removed, not_removed."""
    return {
        **asdict(taken.manifest),
        "storage": taken.storage,
        "swept": list(taken.swept),
        "removed": list(taken.removed),
        "not_removed": list(taken.not_removed),
    }


class LiveBackup:
    """Shows on a terminal how far a backup is, and elsewhere nothing. Leaves the terminal as it was."""

    def __init__(self, console: Console) -> None:
        self.status = console.status("") if console.is_terminal else None

    def __enter__(self) -> Report:
        if self.status:
            self.status.start()
        return self.show

    def __exit__(self, *exc_info: object) -> None:
        if self.status:
            self.status.stop()

    def show(self, stage: Stage, size: int) -> None:
        if self.status:
            told = f"{STAGE_LABELS[stage]} · {mebibytes(size)}" if size else str(STAGE_LABELS[stage])
            self.status.update(Text(told))


def _names(names: tuple[str, ...]) -> dict[str, str]:
    return {"names": ", ".join(names)}
