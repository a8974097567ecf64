"""What a backup holds, written down beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _

from django_runbook.databases import Content, Server, TableContent
from django_runbook.exceptions import Refused

FORMAT = 2
"""Raised when a manifest can no longer be read by earlier versions of this package."""
MANIFEST_SUFFIX = ".manifest.json"


class Level(StrEnum):
    """How much is known of a backup."""

    PROVEN = "proven"
    """It was restored into a scratch database, and that was the same as the original."""
    CHECKSUMMED = "checksummed"
    """Its bytes are known, not yet what they restore to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpFile:
    """One file of a dump."""

    name: str
    """Relative to the manifest's folder."""
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup holds, of which database, and how to tell that it is whole."""

    path: Path
    """The manifest's own file; not written in it, so that a backup can be moved."""
    file: str
    """The dump's name, file or folder, beside the manifest."""
    files: tuple[DumpFile, ...]
    dumper: str
    """What made it, and is to restore it: `Dumper.name`."""
    created: datetime
    alias: str
    identity: dict[str, str]
    """As `Database.identity`."""
    server: Server
    dump_bytes: int | None
    """Of the dump when uncompressed; None if its dumper compressed it."""
    tables: Content
    """What is in the dump, in its own snapshot; a table that was written to during the dump may be absent."""
    schema: str = ""
    """SHA-256 of `Database.schema`; empty if it was not asked for."""
    dumper_reason: str = ""
    """Why it was chosen, in words."""
    applied: tuple[tuple[str, str], ...] = ()
    """Migrations applied at the time: app and name."""
    run_id: str = ""
    level: Level = Level.CHECKSUMMED
    level_reason: str = ""
    """Why it is not proven, in words."""
    dump_seconds: float = 0.0
    restore_seconds: float | None = None
    """How long the proof's restore took; None if there was none."""
    recipients: tuple[str, ...] = ()
    """Public keys that it is encrypted to; none if it is not."""
    grants: tuple[str, ...] = ()
    """Statements that give users their rights on the database again, if they were asked for and no dump has
    them. A restore does not send them: on the server of the backup they still hold."""

    @property
    def dump_path(self) -> Path:
        return self.path.with_name(self.file)

    @property
    def is_folder(self) -> bool:
        return any(file.name != self.file for file in self.files)

    @property
    def bytes(self) -> int:
        """Of all files, as they lie on the disk."""
        return sum(file.bytes for file in self.files)

    @property
    def sha256(self) -> str:
        """Of the dump's only file, or of the first one of a folder, which lists the others."""
        return self.files[0].sha256

    @property
    def rows(self) -> dict[str, int]:
        return {table: content.rows for table, content in self.tables.items()}


def find_backups(folder: Path) -> list[Manifest]:
    """List the backups in a folder, newest first; manifests that cannot be read are left out."""
    manifests = []
    for path in folder.glob(f"*{MANIFEST_SUFFIX}"):
        try:
            manifests.append(load_manifest(path))
        except Refused:
            continue
    return sorted(manifests, key=lambda manifest: (manifest.created, manifest.file), reverse=True)


def load_manifest(path: Path) -> Manifest:
    """Read a manifest. Raise Refused if there is none, or it is damaged or of a later version."""
    try:
        return parse_manifest(path, path.read_bytes())
    except OSError as exc:
        raise _unreadable(path, exc) from exc


def parse_manifest(path: Path, content: bytes) -> Manifest:
    """What a manifest says that is, or is to be, at `path`. Raise Refused if it is damaged or later."""
    try:
        written = json.loads(content)
        if written.pop("format") != FORMAT:
            raise ValueError(_("it was written by another version of django-runbook"))
        return Manifest(path=path, **{**written, **_read(written)})
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise _unreadable(path, exc) from exc


def _unreadable(path: Path, error: Exception) -> Refused:
    return Refused(
        _("The manifest %(path)s cannot be read: %(error)s.") % {"path": path, "error": error},
        _("Name the .manifest.json file of a whole backup."),
    )


def _read(written: dict[str, Any]) -> dict[str, Any]:
    server = written["server"]
    return {
        "created": datetime.fromisoformat(written["created"]),
        "server": Server(product=server["product"], version=tuple(server["version"])),
        "file": _beside(written["file"]),
        "files": tuple(DumpFile(**{**file, "name": _inside(file["name"])}) for file in written["files"]),
        "tables": {table: TableContent(**content) for table, content in written["tables"].items()},
        "applied": tuple((app, name) for app, name in written["applied"]),
        "recipients": tuple(written["recipients"]),
        "grants": tuple(written["grants"]),
        "level": Level(written["level"]),
    }


def _beside(name: str) -> str:
    return Path(name).name


def _inside(name: str) -> str:
    """Raise ValueError for a name that leads out of the manifest's folder."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(name)
    return name


def to_json(manifest: Manifest) -> str:
    """What `load_manifest` reads back."""
    known = {it.name: getattr(manifest, it.name) for it in fields(manifest) if it.name != "path"}
    return json.dumps({"format": FORMAT, **known}, indent=1, ensure_ascii=False, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else asdict(value)


def manifest_of(path: Path) -> Path:
    return path.with_name(path.name + MANIFEST_SUFFIX)


def files_in(path: Path) -> list[Path]:
    """The files of a dump: the one that it is, or all that lie in the folder that it is."""
    return sorted(it for it in path.rglob("*") if not it.is_dir()) if path.is_dir() else [path]
