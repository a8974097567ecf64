"""A dump's way to its file or folder and back; a stream is compressed, and encrypted, in constant memory."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from django.utils.translation import gettext as _
from zstandard import ZstdCompressor, ZstdDecompressor, ZstdError

from django_runbook import age
from django_runbook.backups.choosing import AnyDumper
from django_runbook.backups.manifest import DumpFile
from django_runbook.backups.progress import Meter, Report
from django_runbook.backups.unfinished import (
    Unfinished,
    UnfinishedFile,
    UnfinishedFolder,
    unfinished_file,
    unfinished_folder,
)
from django_runbook.databases import Content
from django_runbook.databases.dumpers import FolderDumper, StreamDumper
from django_runbook.exceptions import RestoreFailed
from django_runbook.files import HashingWriter

COMPRESSION_LEVEL = 3
COMPRESSED_SUFFIX = ".zst"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How a dump is to be written."""

    dumper: AnyDumper
    checksums: bool
    jobs: int
    """Sessions at a time, if the dumper makes a folder."""
    recipients: Sequence[Any]
    """Parsed keys to encrypt a stream to; none: it is not encrypted."""
    report: Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Dumped:
    """A dump that is written and not yet published."""

    unfinished: Unfinished
    files: tuple[DumpFile, ...]
    bytes: int | None
    """When uncompressed, if that is known."""
    tables: Content


@contextmanager
def dumped(order: Order, folder: Path, stem: str) -> Iterator[Dumped]:
    """Write a dump into a file, or a folder if the dumper makes one; it is removed unless published."""
    dumper = order.dumper
    if isinstance(dumper, FolderDumper):
        with unfinished_folder(folder, stem, dumper.suffix) as made:
            yield _dumped_folder(dumper, order, made)
    else:
        suffix = dumper.suffix + COMPRESSED_SUFFIX + (age.SUFFIX if order.recipients else "")
        with unfinished_file(folder, stem, suffix) as file:
            yield _dumped_stream(dumper, order, file)


def _dumped_folder(dumper: FolderDumper, order: Order, made: UnfinishedFolder) -> Dumped:
    tables = dumper.dump(made.partial, jobs=order.jobs, checksums=order.checksums)
    files = made.files()
    if not files:
        raise dumper.backup_failed(_("%(dumper)s wrote nothing.") % {"dumper": dumper.name})
    return Dumped(unfinished=made, files=files, bytes=None, tables=tables)


def _dumped_stream(dumper: StreamDumper, order: Order, made: UnfinishedFile) -> Dumped:
    written = HashingWriter(made.file)
    with _encrypted(written, order.recipients) as target:
        writer = DumpWriter(target, str(made.path), Meter(order.report))
        tables = dumper.dump(cast("IO[bytes]", writer), checksums=order.checksums)
        writer.finish()
    made.file.flush()
    file = DumpFile(name=made.path.name, bytes=written.bytes, sha256=written.sha256)
    return Dumped(unfinished=made, files=(file,), bytes=writer.dump_bytes, tables=tables)


def _encrypted(target: HashingWriter, recipients: Sequence[Any]) -> AbstractContextManager[IO[bytes]]:
    stream = cast("IO[bytes]", target)
    return age.encrypted(stream, recipients) if recipients else nullcontext(stream)


def load_dump(dumper: AnyDumper, path: Path, *, jobs: int, identities: Sequence[Any] = ()) -> None:
    """Bring back the state of a dump. Raise RestoreFailed if it cannot be read or loaded."""
    if isinstance(dumper, FolderDumper):
        dumper.restore(path, jobs=jobs)
        return
    try:
        with opened_dump(path, identities) as dump:
            dumper.restore(dump)
    except ZstdError as exc:
        raise _unreadable(_("The backup %(path)s cannot be decompressed: %(error)s."), path, exc) from exc
    except age.Undecipherable as exc:
        raise _unreadable(_("The backup %(path)s cannot be decrypted: %(error)s."), path, exc) from exc


def _unreadable(message: str, path: Path, error: Exception) -> RestoreFailed:
    return RestoreFailed(message % {"path": path, "error": error}, _("Restore another backup."))


@contextmanager
def opened_dump(path: Path, identities: Sequence[Any] = ()) -> Iterator[IO[bytes]]:
    """Read a dump, uncompressed and decrypted. Raise ZstdError or Undecipherable where it is damaged."""
    with ExitStack() as stack:
        file: IO[bytes] = stack.enter_context(path.open("rb"))
        if identities:
            file = stack.enter_context(age.decrypted(file, identities))
        yield cast("IO[bytes]", stack.enter_context(ZstdDecompressor().stream_reader(file)))


class DumpWriter(io.RawIOBase):
    """Compresses what is written to it, and knows how much that was."""

    def __init__(self, target: IO[bytes], name: str, meter: Callable[[int], None]) -> None:
        self.target = target
        self.name = name
        self.meter = meter
        self.compressor = ZstdCompressor(level=COMPRESSION_LEVEL, write_checksum=True).compressobj()
        self.dump_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, chunk: Any) -> int:
        self.dump_bytes += len(chunk)
        self.put(self.compressor.compress(chunk))
        self.meter(self.dump_bytes)
        return len(chunk)

    def finish(self) -> None:
        """Write what the compressor still holds; the target stays open."""
        self.put(self.compressor.flush())

    def put(self, compressed: bytes) -> None:
        self.target.write(compressed)
