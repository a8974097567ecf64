"""The schema of a database as it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_runbook.databases.columns import (
    Columns,
    LiveColumn,
    comparable_types,
    live_columns,
    virtual_tables,
)


class Live:
    """The tables of a database with all that is in them, each read once.

    Names of tables are compared as the server compares them.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self._ignores_case = connection.features.ignores_table_name_case
        with connection.cursor() as cursor:
            tables = connection.introspection.get_table_list(cursor)
        self._tables = {self.fold(info.name): info for info in tables}
        self._constraints: dict[str, dict[str, Any]] = {}
        self._types: dict[str, str] = {}

    def __contains__(self, table: str) -> bool:
        return self.fold(table) in self._tables

    def __iter__(self) -> Iterator[str]:
        """The names of the tables and views."""
        return iter(info.name for info in self._tables.values())

    def is_view(self, table: str) -> bool:
        return self._tables[self.fold(table)].type == "v"

    def is_virtual(self, table: str) -> bool:
        return self._tables[self.fold(table)].name in self._virtual

    def fold(self, table: str) -> str:
        """A table's name in the form in which this server compares it."""
        name = self.connection.introspection.identifier_converter(table)
        return name.lower() if self._ignores_case else name

    def columns(self, table: str) -> Mapping[str, LiveColumn]:
        """By name; empty if there is no such table."""
        info = self._tables.get(self.fold(table))
        return self._columns.get(info.name, {}) if info else {}

    def constraints(self, table: str) -> Mapping[str, Any]:
        """Constraints and indexes by name, as `get_constraints` describes them."""
        name = self._tables[self.fold(table)].name
        if name not in self._constraints:
            with self.connection.cursor() as cursor:
                self._constraints[name] = self.connection.introspection.get_constraints(cursor, name)
        return self._constraints[name]

    def learn_types(self, types: Iterable[str]) -> None:
        """Ask once about all types that `comparable_type` will be asked for, beside those that are there."""
        there = {column.type for columns in self._columns.values() for column in columns.values()}
        self._types.update(comparable_types(self.connection, sorted({*types, *there})))

    def comparable_type(self, type_: str) -> str:
        """The same text for the same type; empty for one that the server does not know."""
        return self._types.get(type_, "")

    @cached_property
    def _columns(self) -> Columns:
        return live_columns(self.connection)

    @cached_property
    def _virtual(self) -> frozenset[str]:
        return virtual_tables(self.connection)
