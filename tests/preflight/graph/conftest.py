"""A disk to write migration files on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test.utils import override_settings
from written_files import APPS, ROOT, Disk


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    here = Disk(tmp_path / "project")
    for app in APPS:
        here.folder(app).mkdir(parents=True)
        (here.folder(app) / "__init__.py").touch()
    monkeypatch.chdir(here.path)
    monkeypatch.syspath_prepend(here.path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with override_settings(MIGRATION_MODULES={app: f"{ROOT}.{app}" for app in APPS}):
        yield here
    here.forget()
