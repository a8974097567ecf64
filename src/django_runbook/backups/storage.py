"""Copies of backups in one of the project's storages: streamed, and compared on each way."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, cast

from django.conf import settings
from django.core.files import File
from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages
from django.utils.translation import gettext as _

from django_runbook.backups.manifest import DumpFile, Manifest, manifest_of, parse_manifest, to_json
from django_runbook.backups.unfinished import (
    Unfinished,
    UnfinishedFile,
    make_private_folder,
    unfinished_file,
    unfinished_folder,
)
from django_runbook.backups.writing import publish
from django_runbook.exceptions import BackupFailed, Refused
from django_runbook.files import HashingWriter
from django_runbook.programs import CHUNK, redact


class Unequal(Exception):
    """What is in the storage is not what it should be."""


def store(manifest: Manifest, alias: str) -> None:
    """Copy a backup into a storage, and read it back; the manifest comes last.

    Raise BackupFailed if that does not succeed; what was stored is taken away, and the backup here stays.
    """
    storage, stored = storages[alias], list[str]()
    with told_as_not_stored(manifest, alias):
        try:
            for file in manifest.files:
                with (manifest.path.parent / file.name).open("rb") as content:
                    _put(storage, file, File(content), stored)
            words = to_json(manifest).encode()
            _put(storage, _described(manifest.path.name, words), ContentFile(words), stored)
        except BaseException:
            for name in reversed(stored):
                with suppress(Exception):
                    storage.delete(name)
            raise


def _described(name: str, content: bytes) -> DumpFile:
    return DumpFile(name=name, bytes=len(content), sha256=sha256(content).hexdigest())


def _put(storage: Storage, file: DumpFile, content: File[bytes], stored: list[str]) -> None:
    """Store a file and note its name. Raise Unequal if there is another one, or it is read otherwise."""
    if storage.exists(file.name):
        raise Unequal(_("%(name)s is there already") % {"name": file.name})
    stored.append(file.name)
    name = storage.save(file.name, content)
    if name != file.name:
        stored.append(name)
        raise Unequal(_("%(name)s was stored as %(other)s") % {"name": file.name, "other": name})
    with storage.open(name) as back:
        _copy(back, None, file)


def _copy(source: File[bytes], target: IO[bytes] | None, file: DumpFile) -> None:
    """Read a file to its end, and write it if there is where. Raise Unequal if it is not as described."""
    hashed = HashingWriter(target or cast("IO[bytes]", _Nowhere()))
    for chunk in source.chunks(CHUNK):
        hashed.write(chunk)
    if (hashed.bytes, hashed.sha256) != (file.bytes, file.sha256):
        raise Unequal(_("%(name)s is read otherwise than it was written") % {"name": file.name})


class _Nowhere:
    def write(self, chunk: bytes) -> int:
        return len(chunk)


def unstore(manifest: Manifest, alias: str) -> None:
    """Remove a backup from a storage, if it is there; the manifest goes first."""
    storage = storages[alias]
    for name in (manifest.path.name, *(file.name for file in manifest.files)):
        if storage.exists(name):
            storage.delete(name)


def fetch_backup(name: str, alias: str, folder: Path) -> Manifest:
    """Bring a backup from a storage into `folder`; its name, or its manifest's, will do.

    Raise Refused if it is not there, or not as its manifest says, or is in `folder` already; no part of it is
    left there then.
    """
    storage = storages[alias]
    path = folder / Path(name).name
    path = path if path.suffix == ".json" else manifest_of(path)
    with told_as_not_fetched(path.name, alias):
        with storage.open(path.name) as file:
            manifest = parse_manifest(path, file.read())
        make_private_folder(folder)
        with _unfinished(manifest) as made:
            if made.path != manifest.dump_path:
                raise Unequal(_("%(path)s is in its place") % {"path": manifest.dump_path})
            for described in manifest.files:
                _fetch(storage, described, made)
            publish(made, manifest)
    return manifest


@contextmanager
def _unfinished(manifest: Manifest) -> Iterator[Unfinished]:
    make = unfinished_folder if manifest.is_folder else unfinished_file
    with make(manifest.path.parent, manifest.file, "") as made:
        yield made


def _fetch(storage: Storage, described: DumpFile, made: Unfinished) -> None:
    with storage.open(described.name) as source:
        if isinstance(made, UnfinishedFile):
            _copy(source, made.file, described)
            return
        path = made.partial / Path(described.name).relative_to(made.path.name)
        make_private_folder(path.parent)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            _copy(source, target, described)


@contextmanager
def told_as_not_stored(manifest: Manifest, alias: str) -> Iterator[None]:
    """Turn whatever a storage raises, which may be anything, into BackupFailed."""
    try:
        yield
    except Exception as exc:
        raise BackupFailed(
            _("The backup could not be stored in '%(alias)s': %(error)s.")
            % {"alias": alias, "error": _words(exc, alias)},
            _("It is whole on this machine, as %(path)s. The database was not changed.")
            % {"path": manifest.dump_path},
        ) from exc


@contextmanager
def told_as_not_fetched(name: str, alias: str) -> Iterator[None]:
    try:
        yield
    except Refused:
        raise
    except Exception as exc:
        raise Refused(
            _("The backup %(name)s could not be fetched from '%(alias)s': %(error)s.")
            % {"name": name, "alias": alias, "error": _words(exc, alias)},
            _("The database was not touched."),
        ) from exc


def _words(error: Exception, alias: str) -> str:
    """What a storage says, without what its settings may keep secret."""
    options: dict[str, Any] = settings.STORAGES[alias].get("OPTIONS", {})
    secrets: Iterable[str] = (
        value for name, value in options.items() if isinstance(value, str) and _is_secret(name)
    )
    return redact(str(error) or type(error).__name__, secrets).strip().removesuffix(".")


def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in ("secret", "key", "password", "token"))
