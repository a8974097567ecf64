"""The text of a schema dump, made comparable; and events that are kept from running. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

_NEXT_KEY = re.compile(r"(?m)^(\) ENGINE=.*?) AUTO_INCREMENT=\d+")
_NEXT_VALUE = re.compile(r"(?m)^(?:DO|SELECT) SETVAL\(.*\);$")

_EVENT = b"\n/*!50106 CREATE*/"
_HEAD = r"(\n/\*!50106 CREATE\*/ (?:(?! ON COMPLETION )[^\n])* ON COMPLETION (?:NOT )?PRESERVE) "
_ENABLED = re.compile(f"{_HEAD}ENABLE ".encode())
_PUT_ASIDE = re.compile(f"{_HEAD}DISABLE ON (?:SLAVE|REPLICA) ")


def without_counters(schema: str) -> str:
    """Leave out what AUTO_INCREMENT and sequences have come to."""
    return _NEXT_VALUE.sub("", _NEXT_KEY.sub(r"\1", schema))


def with_events_enabled(schema: str) -> str:
    """Take events for enabled that are so on a primary only."""
    return _PUT_ASIDE.sub(r"\1 ENABLE ", schema)


def without_running_events(dump: Iterator[bytes]) -> Iterator[bytes]:
    """Create the events of a dump as a replica has them: they never run, and are not taken for disabled.

    The dump programs write the head of CREATE EVENT as one line.
    """
    held = b"\n"
    for chunk in dump:
        held += chunk
        line = held.rfind(b"\n")
        if line == -1 or not _EVENT.startswith(held[line : line + len(_EVENT)]):
            line = len(held)
        yield _put_aside(held[:line])
        held = held[line:]
    yield _put_aside(held)


def _put_aside(text: bytes) -> bytes:
    return _ENABLED.sub(rb"\1 DISABLE ON SLAVE ", text) if _EVENT in text else text
