"""A process that has imported Django and Wagtail, and forks one that migrates each time it is asked to.

    python fork_server.py FD        FD is a Unix socket of packets; the site's settings are in the environment

So that to start a process costs a fraction of a second. What is forked is as good as new: it opens its own
connection, and all that it knows of the history is on the disk and in the database. Before the fork only the
server's version was asked for, by a migration of Wagtail while it was imported.

A request is a JSON object with a socket beside it, at whose other end the drill speaks with the new process
(see `stops.py`). It is answered twice: with the process's id, and with how it ended.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connections
from django.db.migrations.loader import MigrationLoader
from stops import Changes, Stops
from wagtail_site import migrating  # sets Django up

from django_runbook.databases import base, get_database
from django_runbook.schema import stepwise

LONGEST = 65536


def forget_definitions() -> None:
    stepwise.digest = lambda definitions: "the same"


def imagine_changes() -> None:
    numbers = itertools.count(time.monotonic_ns())
    stepwise.digest = lambda definitions: str(next(numbers))


WITHOUT: dict[str, Callable[[], None]] = {
    "": lambda: None,
    "seeing changes": forget_definitions,
    "seeing that nothing changed": imagine_changes,
}
"""What a process can be told to do without."""


def main(control: socket.socket) -> None:
    MigrationLoader(None)  # imports every migration
    connections.close_all()
    base.WAIT_STEP = 0.02  # for the lock of a process that was killed a moment ago
    gc.freeze()
    control.send(b"ready")
    while True:
        request, descriptors, _flags, _address = socket.recv_fds(control, LONGEST, 1)
        if not request:
            return
        assert connections["default"].connection is None
        with closing(socket.socket(fileno=descriptors[0])) as channel:
            pid = os.fork()
            if not pid:
                control.close()
                be_a_process(json.loads(request), channel)
        control.send(str(pid).encode())
        control.send(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())


def be_a_process(request: dict[str, Any], channel: socket.socket) -> None:
    """Migrate as asked, say at the end what became of it, and exit."""
    gc.disable()  # it lives for seconds, and models are made of cycles
    WITHOUT[request["without"]]()
    settings.RUNBOOK = {"LOCK_TIMEOUT": request["lock_timeout"]}
    connections["default"].settings_dict.update(request["database"])
    stops = Stops(connections["default"], channel, request["stop_at"], request["before"])
    code = 1
    try:
        end = {"finished": stops.passed, **migrate(request, stops)}
        channel.send(json.dumps(end).encode())
        code = 0
    except BaseException as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        end = {"error": str(error), "kinds": kinds, "sessions": list(stops.sessions)}
        channel.send(json.dumps(end).encode())
    finally:
        os._exit(code)


def migrate(request: dict[str, Any], stops: Stops) -> dict[str, Any]:
    """Return what else there is to tell: in the plain way, the statements that changed nothing."""
    database = get_database("default")
    if request["way"] == "plain":
        changes = Changes(database)
        migrating.plain(database)
        return {"changing_nothing": sorted(changes.none - changes.some)}
    patience = timedelta(seconds=request["patience"])
    migrating.runbook(database, patience, waiting=stops.tell_waiting)
    return {}


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
