"""The types of two columns that a foreign key is to connect."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnType:
    """What a server compares of a column when it makes a foreign key."""

    name: str
    """As the server, or Django, writes it: "bigint(20) unsigned"."""
    collation: str = ""

    def __str__(self) -> str:
        return f"{self.name} COLLATE {self.collation}" if self.collation else self.name
