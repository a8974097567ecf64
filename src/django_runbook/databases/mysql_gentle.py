"""CREATE INDEX and ADD CONSTRAINT of MySQL and MariaDB, in forms that let others go on writing. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

IN_PLACE = " ALGORITHM=INPLACE, LOCK=NONE"
"""Refused where the table would be copied, or where others would have to wait."""
REFUSED = {1221, 1799, 1845, 1846}
"""Wrong usage; too many changes by others meanwhile; not supported, and that with a reason."""
_NAME = r"`(?:[^`]|``)+`"
_FOREIGN = re.compile(
    rf"ALTER TABLE (?P<table>{_NAME}) ADD CONSTRAINT (?P<name>{_NAME}) FOREIGN KEY \((?P<column>{_NAME})\) "
    rf"REFERENCES (?P<parent>{_NAME}) ?\((?P<target>{_NAME})\)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedKey:
    """A foreign key that a statement adds; names with their quotes."""

    table: str
    column: str
    parent: str
    target: str


def gentle_form(sql: str) -> str:
    if sql.startswith("ALTER TABLE "):
        return f"{sql},{IN_PLACE}"
    return f"{sql}{IN_PLACE.replace(',', '')}" if sql.startswith("CREATE ") else sql


def plain_form(sql: str) -> str:
    """The statement that `gentle_form` was made of, if it is one."""
    return sql.removesuffix(f",{IN_PLACE}").removesuffix(IN_PLACE.replace(",", ""))


def added_key(sql: str) -> AddedKey | None:
    """The foreign key that a gentle form adds without a look at the rows."""
    found = _FOREIGN.match(sql)
    if not found or sql == plain_form(sql):
        return None
    return AddedKey(
        table=found["table"], column=found["column"], parent=found["parent"], target=found["target"]
    )
