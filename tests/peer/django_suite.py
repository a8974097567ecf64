"""Django's own test suite, from the source distribution of the Django that is installed, run by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import django

import django_runbook

HERE = Path(__file__).parent
CACHE = HERE.parent.parent / ".cache"
PACKAGE = Path(django_runbook.__file__).parent.parent
"""Where the package under test is imported from, whichever is installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRun:
    """What became of the tests."""

    outcomes: dict[str, str]
    """The first line of what went wrong in each test, empty if nothing did; skipped ones are left out."""
    applied: dict[str, int]
    """How many migrations the crash-safe executor has applied, and how many single operations."""

    @property
    def failures(self) -> dict[str, str]:
        return {test: words for test, words in self.outcomes.items() if words}


class NotFetched(Exception):
    """The source distribution could not be had; the message has pip's words."""


class NotRun(Exception):
    """The suite ended before its tests; the message has its last words."""


def fetch() -> Path:
    """Return the folder of the installed Django's source, from the cache or through pip. Raise NotFetched."""
    folder = CACHE / f"django-{django.__version__}"
    if not folder.exists():
        CACHE.mkdir(exist_ok=True)
        unpack(download(), folder)
    return folder


def download() -> Path:
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--no-binary", "Django", "--dest", str(CACHE), f"Django=={django.__version__}"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise NotFetched(f"pip could not download the source of Django {django.__version__}: {ended.stderr}")
    return next(CACHE.glob(f"[dD]jango-{django.__version__}.tar.gz"))


def unpack(archive: Path, folder: Path) -> None:
    """Unpack under another name, so that a half unpacked folder is never taken for a whole one."""
    with tarfile.open(archive) as file:
        file.extractall(CACHE / f"{folder.name}.part", filter="data")
    (CACHE / f"{folder.name}.part" / folder.name).rename(folder)
    (CACHE / f"{folder.name}.part").rmdir()
    archive.unlink()


def run(
    source: Path, runner: str, labels: Sequence[str], databases: Mapping[str, Any], folder: Path
) -> SuiteRun:
    """Run tests with a runner of crash_safe_runner.py. Raise NotRun if it does not come to its end."""
    outcomes = folder / f"{runner}.json"
    env = {
        **{name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
        "PYTHONPATH": os.pathsep.join([str(HERE), str(PACKAGE)]),
        "PEER_DATABASES": json.dumps(databases),
        "PEER_OUTCOMES": str(outcomes),
        "PEER_RUNNER": f"crash_safe_runner.{runner}",
    }
    ended = subprocess.run(
        [sys.executable, "runtests.py", "--settings=peer_settings", "--parallel=1", "--noinput", *labels],
        cwd=source / "tests",
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if not outcomes.exists():
        raise NotRun(f"{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}")
    return SuiteRun(**json.loads(outcomes.read_text()))
