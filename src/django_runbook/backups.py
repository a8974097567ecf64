"""Backups: a database's own dump, compressed, with a manifest that says what is in it.

A backup is two files, `shop-20260131T120000Z.sql.zst` and the same with `.manifest.json`. The manifest is
written last and both under another name first, so a manifest that is there describes a dump that is whole.
"""

from __future__ import annotations

import errno
import io
import itertools
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import file_digest, sha256
from pathlib import Path
from typing import IO, Any, cast

from django.utils.translation import gettext as _
from zstandard import ZstdCompressor, ZstdDecompressor, ZstdError

from django_runbook.databases import Database, Server
from django_runbook.exceptions import BackupFailed, Refused, RestoreFailed
from django_runbook.files import sync_folder

FORMAT = 1
"""Raised when a manifest can no longer be read by earlier versions of this package."""
CHECKSUMMED = "checksummed"
"""Level of a backup that was read back by nobody: its bytes are known, not yet what they restore to."""
MANIFEST_SUFFIX = ".manifest.json"
PARTIAL_SUFFIX = ".partial"
SPACE_MARGIN = 16 * 1024**2
COMPRESSION_LEVEL = 3
DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup holds, of which database, and how to tell that it is whole."""

    path: Path
    """The manifest's own file; not written in it, so that a backup can be moved."""
    file: str
    """The dump's name, beside the manifest."""
    created: datetime
    alias: str
    identity: dict[str, str]
    """As `Database.identity`."""
    server: Server
    bytes: int
    """Of the compressed file."""
    sha256: str
    """Of the compressed file."""
    dump_bytes: int
    """Of the dump when uncompressed."""
    rows: dict[str, int]
    """Per table; one that was written to during the dump may be absent."""
    applied: tuple[tuple[str, str], ...] = ()
    """Migrations applied at the time: app and name."""
    run_id: str = ""
    level: str = CHECKSUMMED

    @property
    def dump_path(self) -> Path:
        return self.path.with_name(self.file)


def make_backup(
    database: Database,
    folder: Path,
    *,
    run_id: str = "",
    applied: Sequence[tuple[str, str]] = (),
    now: datetime,
) -> Manifest:
    """Dump a database into `folder`, which is made if need be, and return the manifest.

    Raise Refused before anything is written if there is too little space or a transaction open, and
    BackupFailed if the dump fails. Whatever is raised, no part of a file is left behind.
    """
    refuse_too_little_space(database, folder)
    with told_as_backup_failure(folder), unfinished_dump(database, folder, now) as dump:
        writer = DumpWriter(dump.file, str(dump.path))
        rows = database.dump(cast("IO[bytes]", writer))
        writer.finish()
        manifest = Manifest(
            path=manifest_of(dump.path),
            file=dump.path.name,
            created=now.astimezone(UTC),
            alias=database.alias,
            identity=database.identity,
            server=database.server(),
            bytes=writer.bytes,
            sha256=writer.hash.hexdigest(),
            dump_bytes=writer.dump_bytes,
            rows=rows,
            applied=tuple(applied),
            run_id=run_id,
        )
        dump.publish()
        write_manifest(manifest)
    return manifest


@contextmanager
def unfinished_dump(database: Database, folder: Path, now: datetime) -> Iterator[UnfinishedFile]:
    make_private_folder(folder)
    with unfinished_file(folder, dump_stem(database, now), f"{database.dump_suffix}.zst") as dump:
        yield dump


def restore_backup(manifest_path: Path, database: Database, *, into_other: bool = False) -> Manifest:
    """Bring a database back to a backup's state, and count its rows against the manifest.

    Raise Refused, before anything is touched, if the backup is damaged or of another kind of server, or of a
    database with another name unless `into_other`. Raise RestoreFailed if the state is not the backup's.
    """
    manifest = load_manifest(manifest_path)
    refuse_other_server(manifest, database)
    if not into_other:
        refuse_other_database(manifest, database)
    refuse_damaged(manifest)
    with manifest.dump_path.open("rb") as file, ZstdDecompressor().stream_reader(file) as dump:
        try:
            database.restore(cast("IO[bytes]", dump))
        except ZstdError as exc:
            raise RestoreFailed(
                _("The backup %(path)s cannot be decompressed: %(error)s.")
                % {"path": manifest.dump_path, "error": exc},
                _("Restore another backup."),
            ) from exc
    compare_rows(manifest, database)
    return manifest


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
        fields = json.loads(path.read_text())
        if fields.pop("format") != FORMAT:
            raise ValueError(_("it was written by another version of django-runbook"))
        fields["created"] = datetime.fromisoformat(fields["created"])
        fields["server"] = Server(
            product=fields["server"]["product"], version=tuple(fields["server"]["version"])
        )
        fields["applied"] = tuple((app, name) for app, name in fields["applied"])
        fields["file"] = Path(fields["file"]).name
        return Manifest(path=path, **fields)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise Refused(
            _("The manifest %(path)s cannot be read: %(error)s.") % {"path": path, "error": exc},
            _("Name the .manifest.json file of a whole backup."),
        ) from exc


def to_json(manifest: Manifest) -> str:
    """What `load_manifest` reads back."""
    fields: dict[str, Any] = {
        "format": FORMAT,
        "file": manifest.file,
        "created": manifest.created.isoformat(),
        "alias": manifest.alias,
        "identity": manifest.identity,
        "server": {"product": manifest.server.product, "version": manifest.server.version},
        "bytes": manifest.bytes,
        "sha256": manifest.sha256,
        "dump_bytes": manifest.dump_bytes,
        "rows": manifest.rows,
        "applied": manifest.applied,
        "run_id": manifest.run_id,
        "level": manifest.level,
    }
    return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"


def write_manifest(manifest: Manifest) -> None:
    """Write the manifest, and remove the dump if that fails: without a manifest it is no backup."""
    try:
        with unfinished_file(manifest.path.parent, manifest.file, MANIFEST_SUFFIX) as file:
            file.file.write(to_json(manifest).encode())
            file.publish()
    except BaseException:
        manifest.dump_path.unlink(missing_ok=True)
        raise


def required_space(database: Database) -> int:
    """Bytes that a backup is expected to need while it is made; a guess on the safe side."""
    size = database.size()
    return size // 2 + (size if database.copies_before_dump else 0) + SPACE_MARGIN


def refuse_too_little_space(database: Database, folder: Path) -> None:
    needed = required_space(database)
    free = shutil.disk_usage(existing(folder)).free
    if free < needed:
        raise Refused(
            _("A backup of database '%(alias)s' needs about %(needed)s in %(folder)s; %(free)s are free.")
            % {
                "alias": database.alias,
                "needed": mebibytes(needed),
                "free": mebibytes(free),
                "folder": folder,
            },
            _("Free some space there, or choose a folder on another disk."),
        )


def refuse_other_server(manifest: Manifest, database: Database) -> None:
    product = database.server().product
    if manifest.server.product != product:
        raise Refused(
            _("The backup %(path)s was made by %(made_by)s; database '%(alias)s' is served by %(product)s.")
            % {
                "path": manifest.path,
                "made_by": manifest.server.product,
                "alias": database.alias,
                "product": product,
            },
            _("Choose a backup of this database."),
        )


def refuse_other_database(manifest: Manifest, database: Database) -> None:
    if manifest.identity.get("name") != database.name:
        raise Refused(
            _("The backup %(path)s is of database '%(theirs)s', and this is '%(ours)s'.")
            % {"path": manifest.path, "theirs": manifest.identity.get("name"), "ours": database.name},
            _("Choose a backup of this database."),
        )


def refuse_damaged(manifest: Manifest) -> None:
    """Raise Refused unless the dump has the size and the SHA-256 that the manifest states."""
    try:
        with manifest.dump_path.open("rb") as file:
            whole = (
                manifest.dump_path.stat().st_size == manifest.bytes
                and file_digest(file, "sha256").hexdigest() == manifest.sha256
            )
    except OSError as exc:
        raise Refused(
            _("The backup %(path)s cannot be read: %(error)s.")
            % {"path": manifest.dump_path, "error": exc.strerror},
            _("Put it beside its manifest, or choose another backup."),
        ) from exc
    if not whole:
        raise Refused(
            _("The backup %(path)s is damaged: it is not the file that its manifest describes.")
            % {"path": manifest.dump_path},
            _("Choose another backup. The database was not touched."),
        )


def compare_rows(manifest: Manifest, database: Database) -> None:
    """Raise RestoreFailed, naming the tables, if the database has other numbers of rows."""
    found = database.row_counts()
    differences = [
        _("%(table)s: %(expected)d expected, %(found)s found")
        % {"table": table, "expected": expected, "found": found.get(table, _("no table"))}
        for table, expected in manifest.rows.items()
        if found.get(table) != expected
    ]
    if differences:
        raise RestoreFailed(
            _("After the restore of %(path)s row counts are not as its manifest says: %(differences)s.")
            % {"path": manifest.path, "differences": "; ".join(differences)},
            _("Stop whatever writes to the database, then restore again."),
        )


class DumpWriter(io.RawIOBase):
    """Compresses what is written to it into a file, and measures both sides."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.file = file
        self.name = name
        self.compressor = ZstdCompressor(level=COMPRESSION_LEVEL, write_checksum=True).compressobj()
        self.hash = sha256()
        self.bytes = 0
        self.dump_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, chunk: Any) -> int:
        self.dump_bytes += len(chunk)
        self.put(self.compressor.compress(chunk))
        return len(chunk)

    def finish(self) -> None:
        """Write what the compressor still holds; the file stays open."""
        self.put(self.compressor.flush())

    def put(self, compressed: bytes) -> None:
        self.file.write(compressed)
        self.hash.update(compressed)
        self.bytes += len(compressed)


@dataclass(frozen=True, slots=True)
class UnfinishedFile:
    """A file under a name that says so, until it is published."""

    file: IO[bytes]
    path: Path
    """Its name once it is whole."""

    def publish(self) -> None:
        """Bring the file to disk, then give it its name, and bring that to disk."""
        self.file.flush()
        os.fsync(self.file.fileno())
        partial_of(self.path).rename(self.path)
        sync_folder(self.path.parent)


@contextmanager
def unfinished_file(folder: Path, stem: str, suffix: str) -> Iterator[UnfinishedFile]:
    """Make a file, 0600, called stem + suffix, or stem-2 if that is taken; removed unless published."""
    path, descriptor = reserve(folder, stem, suffix)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield UnfinishedFile(file, path)
    finally:
        partial_of(path).unlink(missing_ok=True)


def reserve(folder: Path, stem: str, suffix: str) -> tuple[Path, int]:
    """Choose a name that no backup has, and open its partial file, which keeps others from choosing it."""
    for number in itertools.count(1):
        path = folder / (f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}")
        try:
            descriptor = os.open(partial_of(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        if not path.exists() and not manifest_of(path).exists():
            return path, descriptor
        os.close(descriptor)
        partial_of(path).unlink(missing_ok=True)
    raise AssertionError("count() does not end")


def partial_of(path: Path) -> Path:
    return path.with_name(path.name + PARTIAL_SUFFIX)


def manifest_of(path: Path) -> Path:
    return path.with_name(path.name + MANIFEST_SUFFIX)


def dump_stem(database: Database, now: datetime) -> str:
    """The database's name, without what a file name had better not have, and the second in UTC."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(database.name).name).strip("_.") or "database"
    return f"{name}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def make_private_folder(folder: Path) -> None:
    """Make a folder and the missing ones above it, 0700; one that is there keeps its mode."""
    for path in reversed([folder, *folder.parents]):
        path.mkdir(0o700, exist_ok=True)


def existing(folder: Path) -> Path:
    """The nearest folder above that is there."""
    return next(path for path in [folder.absolute(), *folder.absolute().parents] if path.exists())


@contextmanager
def told_as_backup_failure(folder: Path) -> Iterator[None]:
    """Turn what the operating system says about the backup's files into BackupFailed."""
    try:
        yield
    except OSError as exc:
        message = (
            _("The disk of %(folder)s became full during the backup.")
            if exc.errno in DISK_FULL
            else _("The backup in %(folder)s could not be written: %(error)s.")
        )
        raise BackupFailed(
            message % {"folder": folder, "error": exc.strerror or exc},
            _("The database was not changed. Free some space there, or choose another folder."),
        ) from exc


def mebibytes(size: int) -> str:
    return _("%(size)d MiB") % {"size": -(-size // 1024**2)}
