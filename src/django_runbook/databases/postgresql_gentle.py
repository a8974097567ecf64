"""CREATE INDEX and ADD CONSTRAINT of PostgreSQL, in forms that let others go on writing. Pure."""

from __future__ import annotations

import re

LONGEST_NAME = 63
"""Bytes; NAMEDATALEN of an unchanged server."""
_NAME = r'"(?:[^"]|"")+"'
_INDEX = re.compile(r"CREATE (UNIQUE )?INDEX (?!CONCURRENTLY\b)(?P<rest>.*)", re.DOTALL)
_UNIQUE = re.compile(
    rf"ALTER TABLE (?P<table>\S+) ADD CONSTRAINT (?P<name>{_NAME}) UNIQUE"
    rf"(?P<nulls> NULLS (?:NOT )?DISTINCT)? \((?P<columns>{_NAME}(?:, {_NAME})*)\)"
    rf"(?P<deferrable> DEFERRABLE.*)?"
)
_FOREIGN = re.compile(
    rf"ALTER TABLE (?P<table>\S+) ADD CONSTRAINT (?P<name>{_NAME}) FOREIGN KEY .*", re.DOTALL
)


def gentle_forms(sql: str) -> list[str]:
    """https://www.postgresql.org/docs/current/sql-altertable.html, "Notes"."""
    if found := _INDEX.fullmatch(sql):
        return [f"CREATE {found[1] or ''}INDEX CONCURRENTLY {found['rest']}"]
    if found := _UNIQUE.fullmatch(sql):
        table, name, deferrable = found["table"], found["name"], found["deferrable"] or ""
        return [
            f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ({found['columns']}){found['nulls'] or ''}",
            f"ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE USING INDEX {name}{deferrable}",
        ]
    if (found := _FOREIGN.fullmatch(sql)) and not sql.endswith(" NOT VALID"):
        return [f"{sql} NOT VALID", f"ALTER TABLE {found['table']} VALIDATE CONSTRAINT {found['name']}"]
    return [sql]


def name_of_unique(table: str, column: str, number: int) -> str:
    """As makeObjectName() and ChooseRelationName() of the server make it; the `number`th choice."""
    label = f"_key{number or ''}"
    names = [table.encode(), column.encode()]
    while sum(map(len, names)) + 1 + len(label) > LONGEST_NAME:
        longer = 0 if len(names[0]) > len(names[1]) else 1
        names[longer] = names[longer][:-1]
    first, second = (name.decode(errors="ignore") for name in names)
    return f"{first}_{second}{label}"
