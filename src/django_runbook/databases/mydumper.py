"""mydumper and myloader: the rows of a MariaDB database by several sessions at a time.

All but the rows goes by the client programs' own dump: mydumper 0.10 leaves out sequences and history, and
myloader creates routines, triggers and events under another sql_mode than they had [measured with 0.10.1].
"""

from __future__ import annotations

import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from django.db import DatabaseError
from django.utils.translation import gettext as _

from django_runbook.databases.dumpers import Content, FolderDumper
from django_runbook.databases.mysql_grants import is_allowed
from django_runbook.databases.mysql_moments import Listening, measuring
from django_runbook.databases.mysql_restores import marked
from django_runbook.databases.mysql_rights import granted
from django_runbook.databases.mysqldump import MySQLDump, told
from django_runbook.exceptions import ProgramFailed
from django_runbook.programs import read_program, run_program

if TYPE_CHECKING:
    from django_runbook.databases.mysql import MySQLDatabase

PROGRAMS = ("mydumper", "myloader")
KNOWN_VERSION = "0.10."
"""As `mydumper --version` begins, which Debian and Ubuntu have; later ones have other options and files."""
TAME_NAME = re.compile(r"[A-Za-z0-9_$-]+")
"""Names of tables that are names of files as well, and that myloader reads back from them."""
MEGABYTES_OF_A_FILE = 64
"""So that several sessions may load one large table. By size: --rows does not end where keys are negative."""
UNENCRYPTED = ("PREFERRED", "DISABLED")
"""Values of `ssl_mode` with which nothing has to be encrypted; the first is the driver's own."""
NO_ESCAPES = "NO_BACKSLASH_ESCAPES"
CONNECTION = ("--defaults-file=", "--user=", "--host=", "--port=", "--socket=")
"""What both programs understand as the client programs do."""

STRUCTURE, TRIGGERS = "structure.dump", "triggers.dump"
METADATA = "metadata"
FINISHED = "Finished dump at"
HAS_SNAPSHOT = re.compile(rb"Thread \d+ dumping ")
"""It hands out work when every one of its sessions has begun its transaction."""

HIDDEN_COLUMNS = (
    "SELECT DISTINCT TABLE_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()"
    " AND LOCATE('INVISIBLE', EXTRA) > 0 ORDER BY TABLE_NAME"
)
TYPES_WITH_BINARY_FORM = (
    "SELECT DISTINCT TABLE_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()"
    " AND DATA_TYPE IN ('uuid', 'inet4', 'inet6') ORDER BY TABLE_NAME"
)
"""Both programs speak without a character set; so the server takes the text for the other form: NULL."""
VERSIONED = (
    "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
    " AND TABLE_TYPE = 'SYSTEM VERSIONED' ORDER BY TABLE_NAME"
)
SEQUENCES = (
    "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
    " AND TABLE_TYPE = 'SEQUENCE'"
)


class Mydumper(FolderDumper):
    name = "mydumper"
    suffix = ".mydumper"
    database: MySQLDatabase

    def __init__(self, database: MySQLDatabase) -> None:
        super().__init__(database)
        self.structure = MySQLDump(database)

    def unfit(self) -> str:
        return self._unfit_programs() or self._unfit_database()

    def unfit_to_restore(self) -> str:
        return self._unfit_programs()

    def _unfit_programs(self) -> str:
        for program in PROGRAMS:
            if not shutil.which(program):
                return _("%(program)s is not installed.") % {"program": program}
            version = run_program([program, "--version"])
            if not version.startswith(f"{program} {KNOWN_VERSION}"):
                return _("%(version)s is not known to be exact; %(known)s is.") % {
                    "version": version.split(",")[0],
                    "known": f"{KNOWN_VERSION}x",
                }
        return ""

    def _unfit_database(self) -> str:
        database, options = self.database, self.database.connection.settings_dict["OPTIONS"]
        if not database.is_mariadb:
            return _("it has been tried on MariaDB only.")
        if options.get("ssl") or options.get("ssl_mode", UNENCRYPTED[0]) not in UNENCRYPTED:
            return _("it has not been tried with the encryption that OPTIONS asks for.")
        if not is_allowed(granted(database), "LOCK TABLES", database.name):
            return _("the user lacks the right LOCK TABLES, without which its sessions see different states.")
        if NO_ESCAPES in str(database.ask("SELECT @@GLOBAL.sql_mode")[0][0]).split(","):
            return _("it takes the server's sql_mode %(mode)s into account in one direction only.") % {
                "mode": NO_ESCAPES
            }
        return next(self._unfit_tables(), "")

    def _unfit_tables(self) -> Iterator[str]:
        names = [self.database.name, *self.database.dumped_tables()]
        for tables, why in (
            (
                [name for name in names if not TAME_NAME.fullmatch(name)],
                _("it cannot bring back tables with such names: %(tables)s."),
            ),
            (
                self._names(TYPES_WITH_BINARY_FORM),
                _("it brings back columns of the types UUID, INET4 and INET6 empty: %(tables)s."),
            ),
            (self._names(HIDDEN_COLUMNS), _("it leaves out invisible columns: %(tables)s.")),
            (
                self._names(VERSIONED),
                _("it leaves out the history of tables with system versioning: %(tables)s."),
            ),
        ):
            if tables:
                yield why % {"tables": ", ".join(tables)}

    def _names(self, query: str) -> list[str]:
        return [str(name) for (name,) in self.database.ask(query)]

    def dump(self, folder: Path, *, jobs: int, checksums: bool) -> Content:
        """Dump with `jobs` sessions, or, if no moment without writers is to be had, with a single one.

        Several sessions see one state only because nobody writes until all have begun. The definitions are
        dumped after the rows, when nothing keeps them from being altered: what has been is an error.
        """
        self.database.refuse_open_transaction()
        before = self.database.schema()
        try:
            with measuring(self.database, checksums=checksums) as measures:
                threads = jobs if measures.is_of_one_moment else 1
                log = Listening(cast("IO[bytes]", _Nowhere()), HAS_SNAPSHOT, measures.dump_has_begun)
                self._dump_rows(folder, threads, log)
                self._dump_structure(folder)
                content = measures.content()
        except (ProgramFailed, DatabaseError) as exc:
            raise self.backup_failed(told(exc)) from exc
        if self.database.schema() != before:
            raise self.backup_failed(_("something was created, altered or dropped meanwhile."))
        return content

    def _dump_rows(self, folder: Path, threads: int, log: Listening) -> None:
        with self._called("mydumper") as (argv, env), tempfile.NamedTemporaryFile("w") as omitted:
            omitted.writelines(f"{self.database.name}.{name}\n" for name in self._names(SEQUENCES))
            omitted.flush()
            read_program(
                [
                    *argv,
                    f"--outputdir={folder}",
                    f"--threads={threads}",
                    f"--chunk-filesize={MEGABYTES_OF_A_FILE}",
                    f"--omit-from-file={omitted.name}",
                    "--no-schemas",
                    "--no-views",
                    "--no-locks",
                    "--compress",
                    "--verbose=3",
                    "--logfile=/dev/stdout",
                ],
                cast("IO[bytes]", log),
                env=env,
                secrets=self.database.secrets,
            )
        for path in folder.iterdir():
            path.chmod(0o600)
        if not self._is_finished(folder):
            raise self.backup_failed(
                _("%(program)s ended with success, but its output is cut off.") % {"program": "mydumper"}
            )

    def _is_finished(self, folder: Path) -> bool:
        metadata = folder / METADATA
        return metadata.exists() and FINISHED in metadata.read_text(errors="replace")

    def _dump_structure(self, folder: Path) -> None:
        with _private(folder / STRUCTURE) as file:
            file.write(self.structure.alter_database())
            self.structure.read_dump(file, "--no-data", "--skip-triggers", "--skip-events")
        with _private(folder / TRIGGERS) as file:
            self.structure.read_dump(file, "--no-data", "--no-create-info", "--skip-routines")

    def restore(self, folder: Path, *, jobs: int) -> None:
        """Drop every object, create the tables, load their rows, then create triggers and events.

        With the binary log, which replicas read; to go without it asks for a right that few users have.
        """
        self.database.refuse_open_transaction()
        before = self.database.objects()
        if not self._is_finished(folder):
            raise self.structure.restore_failed(_("the dump is cut off."), untouched=True)
        try:
            with marked(self.database):
                self._load(folder, before, jobs)
        except ProgramFailed as exc:
            untouched = self.database.objects() == before
            raise self.structure.restore_failed(str(exc), untouched=untouched) from exc

    def _load(self, folder: Path, before: dict[str, list[str]], jobs: int) -> None:
        with (folder / STRUCTURE).open("rb") as file:
            self.structure.load(self.structure.restore_script(before, file))
        with self._called("myloader") as (argv, env):
            options = (f"--directory={folder}", f"--threads={jobs}", "--enable-binlog")
            run_program([*argv, *options], env=env, secrets=self.database.secrets)
        with (folder / TRIGGERS).open("rb") as file:
            self.structure.load(self.structure.whole(file))

    @contextmanager
    def _called(self, program: str) -> Iterator[tuple[list[str], dict[str, str]]]:
        """The beginning of a call; the password is in the environment, where their client library looks."""
        with self.database.client(program) as (argv, env):
            connection = [option for option in argv if option.startswith(CONNECTION)]
            yield [program, *connection, f"--database={self.database.name}"], env


@contextmanager
def _private(path: Path) -> Iterator[IO[bytes]]:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        yield file


class _Nowhere(io.RawIOBase):
    def write(self, chunk: Any) -> int:
        return len(chunk)
