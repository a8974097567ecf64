"""What surrounds a run on SQLite: a file and its folder."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from django_runbook.databases.surroundings import Disk, Needs, Surroundings, Trouble

if TYPE_CHECKING:
    from django_runbook.databases.sqlite import SQLiteDatabase


class SQLiteSurroundings(Surroundings):
    database: SQLiteDatabase

    def connected(self) -> list[str]:
        """Other processes that have the file open, as far as Linux shows them to this user."""
        file = self.database.file()
        if file is None:
            return []
        here = file.stat()
        return [
            _("process %(pid)s (%(program)s)") % {"pid": process.name, "program": _program(process)}
            for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name))
            if process.name != str(os.getpid()) and _has_open(process, here)
        ]

    def rights(self, needs: Needs) -> Iterator[Trouble]:
        file = self.database.file()
        if file and not _may(file.parent, os.W_OK | os.X_OK):
            yield Trouble(
                message=_(
                    "This user may not write to folder %(folder)s, in which SQLite keeps its journal while "
                    "it changes %(file)s."
                )
                % {"folder": file.parent, "file": file.name},
                hint=_("Run as the user that owns the database's file."),
                is_error=True,
                subject=str(file.parent),
            )

    def disk(self, tables: Collection[str]) -> Disk | None:
        """A table that is made anew lies in the file twice, and its old pages in the journal."""
        file = self.database.file()
        if not file or not tables:
            return None
        return Disk(folder=file.parent, table=file.name, bytes=2 * self.database.size())

    def refusals(self) -> Iterator[Trouble]:
        file = self.database.file()
        is_query_only = self.own("query_only", "PRAGMA query_only")
        if (file and not _may(file, os.W_OK)) or is_query_only or self._is_opened_to_read():
            yield Trouble(
                message=_("Database '%(alias)s' can only be read: %(file)s.")
                % {"alias": self.database.alias, "file": self._why(file, is_query_only=bool(is_query_only))},
                hint=_("Run as the user that owns the file, and without mode=ro or query_only."),
                is_error=True,
            )

    def _is_opened_to_read(self) -> bool:
        name = str(self.database.connection.settings_dict["NAME"])
        return name.startswith("file:") and ("mode=ro" in name or "immutable=1" in name)

    def _why(self, file: Path | None, *, is_query_only: bool) -> str:
        if is_query_only:
            return "PRAGMA query_only"
        return self.database.name if self._is_opened_to_read() else str(file)

    def settings(self) -> Iterator[Trouble]:
        alias = self.database.alias
        [foreign_keys] = self.one("PRAGMA foreign_keys")
        if not foreign_keys:
            yield Trouble(
                message=_("Foreign keys are not checked in this session: rows could point at nothing."),
                hint=_options(alias, "PRAGMA foreign_keys = ON"),
                is_error=True,
            )
        if not self.database.file():
            return
        [mode] = self.one("PRAGMA journal_mode")
        if str(mode).lower() in ("off", "memory"):
            yield Trouble(
                message=_(
                    "SQLite's journal_mode is %(mode)s: a process that is killed in the middle of a change "
                    "leaves the file damaged."
                )
                % {"mode": str(mode).upper()},
                hint=_options(alias, "PRAGMA journal_mode = WAL"),
                is_error=True,
            )
        [synchronous] = self.one("PRAGMA synchronous")
        if not synchronous:
            yield Trouble(
                message=_(
                    "SQLite's synchronous is OFF: a power cut may leave the file damaged. A kill does no "
                    "such harm."
                ),
                hint=_options(alias, "PRAGMA synchronous = NORMAL"),
                subject="synchronous",
            )


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _options(alias: str, statement: str) -> str:
    return _(
        'In DATABASES[\'%(alias)s\'], for this command: "OPTIONS": {"init_command": "%(statement)s"}'
    ) % {
        "alias": alias,
        "statement": statement,
    }


def _has_open(process: Path, file: os.stat_result) -> bool:
    with suppress(OSError):  # it has ended, or is another user's
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                if os.path.samestat(descriptor.stat(), file):
                    return True
    return False


def _program(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "?"
