"""A program's seconds and its peak memory."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from provision import Failed

LAUNCHER = """
import os, sys
pid = os.spawnv(os.P_NOWAIT, sys.argv[2], sys.argv[2:])
_pid, status, usage = os.wait4(pid, 0)
open(sys.argv[1], "w").write(str(usage.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""A small process that starts another one, which would count the memory of a large one as its own peak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a program took and wrote to standard output."""

    seconds: float
    peak: int
    """KiB of the process, or of the largest one that it waited for."""
    output: str


def run_measured(words: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> Ended:
    """Run a program. Raise Failed, with what it said, if it fails."""
    with tempfile.TemporaryFile("w+") as said, tempfile.NamedTemporaryFile("r") as peak:
        launched = [sys.executable, "-c", LAUNCHER, peak.name, *words]
        began = time.monotonic()
        ended = subprocess.run(launched, cwd=cwd, env=dict(env), stdout=said, check=False)
        seconds = time.monotonic() - began
        said.seek(0)
        output = said.read()
        if ended.returncode:
            raise Failed(f"{' '.join(words)} failed: {output}")
        return Ended(seconds=seconds, peak=int(peak.read()), output=output)
