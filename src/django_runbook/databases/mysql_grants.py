"""What SHOW GRANTS allows. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_GRANT = re.compile(
    r"GRANT (?P<rights>.+?) ON (?:TABLE )?(?P<schema>\*|`(?:[^`]|``)+`)"
    r"\.(?P<table>\*|`(?:[^`]|``)+`) TO (?P<to>.+)",
    re.DOTALL,
)
_OF_COLUMNS = re.compile(r"\w[\w ]*\([^)]*\)")
"""A right to some columns only; never the whole of what a step needs."""
ALL = "ALL PRIVILEGES"
EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class Grant:
    """Some rights to a table, to all tables of the databases that match a pattern, or to all there are."""

    rights: frozenset[str]
    schema: str
    """A name if there is a table, otherwise a pattern as LIKE has it; "*" for all databases."""
    table: str
    grantee: str
    """A user, or a role that is active."""

    def has(self, right: str) -> bool:
        return right in self.rights or ALL in self.rights

    def covers(self, schema: str, table: str) -> bool:
        """`table` may be "*": then only a right to the whole database counts."""
        if self.table != EVERYTHING:
            return (self.schema.lower(), self.table.lower()) == (schema.lower(), table.lower())
        return self.schema == EVERYTHING or bool(_pattern(self.schema).fullmatch(schema))

    @property
    def is_of_schema(self) -> bool:
        return self.table == EVERYTHING and self.schema != EVERYTHING

    @property
    def exactness(self) -> tuple[bool, int]:
        """How much of the pattern stands before its first wildcard."""
        wild = re.search(r"(?<!\\)[%_]", self.schema)
        return wild is None, wild.start() if wild else len(self.schema)


def read_grants(lines: Iterable[str]) -> list[Grant]:
    """Read the lines of SHOW GRANTS; those of roles, routines and proxies, and MySQL's REVOKEs, say nothing
    here.
    """
    return list(_read(lines))


def is_allowed(grants: Iterable[Grant], right: str, schema: str, table: str = EVERYTHING) -> bool:
    """Of several patterns that match a database, the server takes the most exact one of each grantee alone
    [measured on MariaDB 10.11]; what is granted on everything, or on the table, comes to it.
    """
    matching = [grant for grant in grants if grant.covers(schema, table)]
    exactest: dict[str, tuple[bool, int]] = {}
    for grant in matching:
        if grant.is_of_schema:
            exactest[grant.grantee] = max(grant.exactness, exactest.get(grant.grantee, grant.exactness))
    return any(
        grant.has(right)
        for grant in matching
        if not grant.is_of_schema or grant.exactness == exactest[grant.grantee]
    )


def _read(lines: Iterable[str]) -> Iterator[Grant]:
    for line in lines:
        found = _GRANT.match(line)
        if found:
            rights = (word.strip() for word in _OF_COLUMNS.sub("", found["rights"]).split(","))
            schema, table = (_bare(found[name]) for name in ("schema", "table"))
            grantee = found["to"].split(" IDENTIFIED ")[0].removesuffix(" WITH GRANT OPTION")
            yield Grant(frozenset(filter(None, rights)), schema, table, grantee)


def _bare(name: str) -> str:
    return name if name == EVERYTHING else name[1:-1].replace("``", "`")


def _pattern(like: str) -> re.Pattern[str]:
    words = {"%": ".*", "_": "."}
    parts = re.findall(r"\\.|.", like, re.DOTALL)
    text = "".join(
        re.escape(part[1:]) if part[0] == "\\" and len(part) > 1 else words.get(part, re.escape(part))
        for part in parts
    )
    return re.compile(text, re.DOTALL | re.IGNORECASE)
