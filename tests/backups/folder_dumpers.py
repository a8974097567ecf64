"""A dumper that makes a folder, on every kind of database: the stream, cut into files."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from django_runbook.databases import Content, Database
from django_runbook.databases.dumpers import FolderDumper

PIECE = 1000
"""Bytes of a file, so that a small database has several."""


class Pieces(FolderDumper):
    name = "pieces"
    suffix = ".pieces"
    unfit_here = ""
    jobs: list[int]
    """What it was called with, of all instances."""

    def unfit(self) -> str:
        return self.unfit_here

    def unfit_to_restore(self) -> str:
        return self.unfit_here

    def dump(self, folder: Path, *, jobs: int, checksums: bool) -> Content:
        self.jobs.append(jobs)
        stream = io.BytesIO()
        content = self.database.dumper.dump(stream, checksums=checksums)
        whole = stream.getvalue()
        (folder / "rest").mkdir()
        for number, start in enumerate(range(0, len(whole), PIECE)):
            place = folder / "rest" if number else folder
            (place / f"{number:06}").write_bytes(whole[start : start + PIECE])
        return content

    def restore(self, folder: Path, *, jobs: int) -> None:
        self.jobs.append(jobs)
        files = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.name)
        self.database.restore(io.BytesIO(b"".join(path.read_bytes() for path in files)))


def provide(monkeypatch: pytest.MonkeyPatch, database: Database) -> type[Pieces]:
    """Let databases of this kind be dumped in pieces, too."""
    monkeypatch.setattr(Pieces, "jobs", [], raising=False)
    monkeypatch.setattr(type(database), "folder_dumpers", property(lambda self: [Pieces(self)]))
    return Pieces
