"""Dumps and manifests under another name until they are whole, and private folders for them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import IO

from django_runbook.backups.manifest import MANIFEST_SUFFIX, DumpFile, files_in, manifest_of
from django_runbook.files import PARTIAL_SUFFIX, TakenAway, open_held, remove, sync, sync_folder, unheld


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A file or folder under a name that says so, until it is published."""

    path: Path
    """Its name once it is whole."""

    @property
    def partial(self) -> Path:
        return partial_of(self.path)

    def publish(self) -> None:
        """Bring it to disk, then give it its name, and bring that to disk."""
        self.bring_to_disk()
        self.partial.rename(self.path)
        sync_folder(self.path.parent)

    def bring_to_disk(self) -> None:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class UnfinishedFile(Unfinished):
    file: IO[bytes]

    def bring_to_disk(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())


@dataclass(frozen=True, slots=True)
class UnfinishedFolder(Unfinished):
    def bring_to_disk(self) -> None:
        for path in [self.partial, *self.partial.rglob("*")]:
            sync(path)

    def files(self) -> tuple[DumpFile, ...]:
        """Every file in it, as the manifest lists it; whatever wrote them, they are 0600 now."""
        return tuple(self._described(path) for path in files_in(self.partial))

    def _described(self, path: Path) -> DumpFile:
        path.chmod(0o600)
        with path.open("rb") as file:
            return DumpFile(
                name=str(self.path.name / path.relative_to(self.partial)),
                bytes=path.stat().st_size,
                sha256=file_digest(file, "sha256").hexdigest(),
            )


@contextmanager
def unfinished_file(folder: Path, stem: str, suffix: str) -> Iterator[UnfinishedFile]:
    """Make a file, 0600, called stem + suffix, or stem-2 if that is taken; removed unless published."""
    path, descriptor = reserve(folder, stem, suffix, make_file)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield UnfinishedFile(path, file)
    finally:
        remove(partial_of(path))


@contextmanager
def unfinished_folder(folder: Path, stem: str, suffix: str) -> Iterator[UnfinishedFolder]:
    """As `unfinished_file`, an empty folder, 0700."""
    path, descriptor = reserve(folder, stem, suffix, make_folder)
    try:
        yield UnfinishedFolder(path)
    finally:
        remove(partial_of(path))
        os.close(descriptor)


def reserve(folder: Path, stem: str, suffix: str, make: Callable[[Path], int]) -> tuple[Path, int]:
    """Choose a name that no backup has, and make what keeps others from choosing it; return it, held."""
    for number in itertools.count(1):
        path = folder / (f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}")
        try:
            descriptor = make(partial_of(path))
        except (FileExistsError, TakenAway):
            continue
        if not any(it.exists() for it in (path, manifest_of(path), partial_of(manifest_of(path)))):
            return path, descriptor
        remove(partial_of(path))
        os.close(descriptor)
    raise AssertionError("count() does not end")


def make_file(path: Path) -> int:
    return open_held(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)


def make_folder(path: Path) -> int:
    path.mkdir(0o700)
    return open_held(path, os.O_RDONLY)


def sweep(folder: Path) -> list[str]:
    """Remove what killed processes have left in a folder of backups; return the names.

    With the manifest that a dump was to have, or has had until `remove_backup`, goes the dump.
    """
    return [path.name for path in sorted(folder.glob(f"*{PARTIAL_SUFFIX}")) if sweep_one(path)]


def sweep_one(path: Path) -> bool:
    """False if it is held, or could not be removed: that it lies there is no reason to take no backup."""
    with unheld(path) as is_left, suppress(OSError):
        for part in parts_of(path) if is_left else []:
            remove(part)
    return is_left and not path.exists()


def parts_of(partial: Path) -> list[Path]:
    """What is to go with a partial file, which goes last: it is what a sweep that is cut off goes on from."""
    manifest = partial.with_name(partial.name.removesuffix(PARTIAL_SUFFIX))
    if not manifest.name.endswith(MANIFEST_SUFFIX) or manifest.exists():
        return [partial]
    return [manifest.with_name(manifest.name.removesuffix(MANIFEST_SUFFIX)), partial]


def left_bytes(folder: Path) -> int:
    """Bytes that `sweep` would free."""
    return sum(_left_bytes(path) for path in folder.glob(f"*{PARTIAL_SUFFIX}"))


def _left_bytes(path: Path) -> int:
    with unheld(path) as is_left:
        parts = [part for part in parts_of(path) if is_left and part.exists()]
        return sum(512 * file.lstat().st_blocks for part in parts for file in files_in(part))


def partial_of(path: Path) -> Path:
    return path.with_name(path.name + PARTIAL_SUFFIX)


def make_private_folder(folder: Path) -> None:
    """Make a folder and the missing ones above it, 0700; one that is there keeps its mode."""
    for path in reversed([folder, *folder.parents]):
        path.mkdir(0o700, exist_ok=True)
