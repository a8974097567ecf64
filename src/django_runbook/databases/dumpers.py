"""What dumps a database and loads it again: a client program, or the server itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, ClassVar

from django.utils.translation import gettext as _

from django_runbook.exceptions import BackupFailed

if TYPE_CHECKING:
    from django_runbook.databases.base import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class TableContent:
    """The rows of one table in one snapshot."""

    rows: int
    checksum: str = ""
    """Of all rows in any order; empty if it was not asked for. Comparable on servers of one product."""


Content = dict[str, TableContent]
"""By table; one whose content in the dump cannot be known, as it was written to meanwhile, is left out."""


class Dumper(ABC):
    """One way to dump a database, and to bring the dump back."""

    name: ClassVar[str]
    """As an operator knows it: "pg_dump", "mydumper", …"""
    suffix: ClassVar[str]
    """How the dump's name ends, before compression: ".sql", ".sqlite3", …"""
    makes_folder: ClassVar[bool] = False
    """Does it write many files at a time, already compressed, instead of one stream?"""
    copies_first: ClassVar[bool] = False
    """Does it need the database's size once more, uncompressed, in the dump's folder while it runs?"""

    def __init__(self, database: Database) -> None:
        self.database = database

    def unfit(self) -> str:
        """Why it cannot dump this database on this machine, in words; empty if it can."""
        return ""

    def unfit_to_restore(self) -> str:
        """Why it cannot bring a dump back on this machine, whatever is in the database now."""
        return ""

    def backup_failed(self, why: object) -> BackupFailed:
        return BackupFailed(
            _("The backup of database '%(alias)s' failed: %(why)s")
            % {"alias": self.database.alias, "why": why},
            _("The database was not changed."),
        )


class StreamDumper(Dumper):
    """Writes one stream, which the caller compresses."""

    @abstractmethod
    def dump(self, target: IO[bytes], *, checksums: bool) -> Content:
        """Write a consistent dump of everything in the database to `target`, uncompressed.

        Return what is in the dump, counted and, if asked for, summed in the dump's own snapshot. Raise
        BackupFailed, with the program's own words, when it fails or its output is not whole, and Refused
        within a transaction: the dump would miss it.
        """

    @abstractmethod
    def restore(self, source: IO[bytes]) -> None:
        """Bring back exactly the state of a dump: what was created since is gone too.

        The database's session, and the run lock on it, stay. Raise RestoreFailed with the program's own
        words; all or nothing where the server can. Raise Refused within a transaction, which would block.
        """


class FolderDumper(Dumper):
    """Writes a folder of files, several at a time."""

    makes_folder = True

    @abstractmethod
    def dump(self, folder: Path, *, jobs: int, checksums: bool) -> Content:
        """As StreamDumper's, into `folder`, which is there and empty, with `jobs` sessions at a time."""

    @abstractmethod
    def restore(self, folder: Path, *, jobs: int) -> None:
        """As StreamDumper's, from `folder`."""
