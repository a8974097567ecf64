"""Go through Wagtail's history in processes that are killed at a given point of it; for crash_points.py.

    python -m killed_histories      with the site's settings in the environment

Each line of the input asks for one process, as JSON: the database, plain or runbook, and the point, or 0.
Each line of the output tells of its end: the exit code or signal, the points passed and a digest. The
processes are forked, because importing Django and Wagtail takes as long as a good part of the history.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import sys
import traceback
from functools import partial
from typing import Any

import django

django.setup()

from canonical import likeness
from django.db import connections
from django.db.migrations.loader import MigrationLoader
from killed_migration import PATIENCE, Points
from wagtail_site import migrating

from django_runbook.databases import base, get_database

WAYS = {"plain": migrating.plain, "runbook": partial(migrating.runbook, patience=PATIENCE)}


def main() -> None:
    MigrationLoader(None)  # imports every migration
    connections.close_all()
    base.WAIT_STEP = 0.02  # for the lock of a process that was killed a moment ago
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(end_of(json.loads(line))), flush=True)


def end_of(request: dict[str, Any]) -> dict[str, Any]:
    """Fork a process, and tell of its end."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        be_a_process(request, writing)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = json.loads(pipe.read() or "{}")
    return {"status": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), **told}


def be_a_process(request: dict[str, Any], writing: int) -> None:
    gc.disable()
    told: dict[str, Any] = {}
    try:
        connections["default"].settings_dict.update(request["database"])
        database = get_database("default")
        points = Points(database.connection, kill_at=request["point"])
        WAYS[request["way"]](database)
        digest = hashlib.sha256("\n".join(likeness(database)).encode()).hexdigest()
        told = {"points": points.passed, "digest": digest}
    except BaseException as error:
        told = {"error": "".join(traceback.format_exception_only(error)).strip()}
    finally:
        os.write(writing, json.dumps(told).encode())
        os._exit("error" in told)


if __name__ == "__main__":
    main()
