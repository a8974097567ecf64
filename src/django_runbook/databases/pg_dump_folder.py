"""pg_dump's directory format: one file for each table, several at a time."""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from django.utils.translation import gettext as _

from django_runbook.databases.dumpers import Content, FolderDumper
from django_runbook.databases.pg_dump import PgDump, dump_options
from django_runbook.exceptions import ProgramFailed
from django_runbook.programs import read_program, reading_program, run_program

if TYPE_CHECKING:
    from django_runbook.databases.postgresql import PostgreSQLDatabase

COMPRESSION = "--compress=1"
"""Level of gzip, which every version can; the default, 6, takes three times as long for a tenth less."""
EXTENSION_COMMENT = b" COMMENT - EXTENSION "
"""In a table of contents; only an extension's owner may comment on it."""


class PgDumpFolder(FolderDumper):
    name = "pg_dump directory"
    suffix = ".pgdump"
    database: PostgreSQLDatabase

    def unfit(self) -> str:
        return self.unfit_to_restore()

    def unfit_to_restore(self) -> str:
        if shutil.which("pg_restore"):
            return ""
        return _("%(program)s is not installed.") % {"program": "pg_restore"}

    def dump(self, folder: Path, *, jobs: int, checksums: bool) -> Content:
        """Dump a snapshot that this session exports and all of the program's sessions take."""
        with PgDump(self.database).exported_snapshot(checksums=checksums) as (snapshot, content):
            argv, env = self.database.client(
                "pg_dump",
                "--format=directory",
                f"--jobs={jobs}",
                f"--file={folder}",
                COMPRESSION,
                *dump_options(self.database, snapshot),
            )
            run_program(argv, env=env, secrets=self.database.secrets)
        for path in folder.iterdir():
            path.chmod(0o600)
        return content

    def restore(self, folder: Path, *, jobs: int) -> None:
        """All or nothing, by a single session; into a scratch database by several, each on its own."""
        if self.database.is_scratch:
            self._restore_in_parallel(folder, jobs)
            return
        argv = ["pg_restore", "--file=-", str(folder)]
        with reading_program(argv, secrets=self.database.secrets) as script:
            PgDump(self.database).restore(script)

    def _restore_in_parallel(self, folder: Path, jobs: int) -> None:
        (*argv, name), env = self.database.client("pg_restore", "--exit-on-error", f"--jobs={jobs}")
        argv += [f"--dbname={name}", *(f"--role={role}" for role in self.database.roles())]
        try:
            with tempfile.NamedTemporaryFile("wb") as contents:
                self._write_contents(folder, contents)
                run_program(
                    [*argv, f"--use-list={contents.name}", str(folder)],
                    env=env,
                    secrets=self.database.secrets,
                )
        except ProgramFailed as exc:
            raise PgDump(self.database).restore_failed(str(exc)) from exc

    def _write_contents(self, folder: Path, target: IO[bytes]) -> None:
        """The dump's table of contents, without what only a superuser may bring back."""
        contents = io.BytesIO()
        read_program(["pg_restore", "--list", str(folder)], contents)
        target.writelines(
            line for line in contents.getvalue().splitlines(keepends=True) if EXTENSION_COMMENT not in line
        )
        target.flush()
