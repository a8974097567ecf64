"""What taking the migrations of a run back would mean: whether it can be done, and what it would lose."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from django_runbook.databases import Database
from django_runbook.schema.collect import Unit
from django_runbook.schema.drift import unknown_columns
from django_runbook.schema.history import Key
from django_runbook.schema.losses import Additions, lost_by_return, lost_without, with_additions
from django_runbook.schema.reversals import (
    Piece,
    Pieces,
    Reversal,
    is_whole,
    load_reversals,
    rename_content_types,
)

DESTRUCTIVE = re.compile(
    r"\b(?:DROP\s+TABLE|DROP\s+COLUMN|MODIFY|CHANGE|TRUNCATE)\b|^\s*(?:UPDATE|DELETE|REPLACE)\b",
    re.IGNORECASE,
)
"""Statements of built-in operations after which a value may be gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoPlan:
    """What goes back, and why it may not."""

    reversals: tuple[Reversal, ...]
    """The one that was applied last comes first."""
    lost: tuple[str, ...] = ()
    """What of the data would be gone, or is gone already and would not come back."""
    irreversible: tuple[str, ...] = ()
    """What cannot be taken back, in words."""

    @property
    def keys(self) -> list[Key]:
        return [reversal.key for reversal in self.reversals]

    @property
    def names(self) -> list[str]:
        return [str(reversal.migration) for reversal in self.reversals]


def make_undo_plan(
    database: Database, run_id: str, before: frozenset[Key], definitions: Mapping[str, str]
) -> UndoPlan:
    """What taking back all migrations since `before` means. Reads the database, changes nothing.

    `definitions` are those of all tables before the run. Raise LockHeld if a statement of the run is still
    executed by the session of a killed client.
    """
    database.wait_for_orphans(run_id)
    reversals = load_reversals(database, run_id, before, rename_content_types)
    examination = _Examination(database, run_id, reversals)
    for reversal in reversed(reversals):
        examination.add(reversal)
    return UndoPlan(
        reversals=tuple(reversals),
        lost=tuple(dict.fromkeys([*examination.lost, *examination.would_be_lost()])),
        irreversible=tuple(dict.fromkeys([*examination.irreversible, *examination.strange(definitions)])),
    )


class _Examination:
    """Looks at migrations, the one that was applied first to begin with, for what stands against undo."""

    def __init__(self, database: Database, run_id: str, reversals: Sequence[Reversal]) -> None:
        self.database = database
        self.run_id = run_id
        self.reversals = reversals
        self.additions: Additions = ()
        self.lost: list[str] = []
        self.irreversible: list[str] = []
        self._done: list[tuple[str, Unit]] = []

    def add(self, reversal: Reversal) -> None:
        if not reversal.units:
            return
        pieces = Pieces(self.database, self.run_id, reversal)
        if is_whole(self.database, self.run_id, reversal):
            self.lost += [row.loses for row in pieces.rows if row.loses]
            done = list(reversal.units)
            self._refuse_irreversible(reversal, done)
        elif pieces.rows:
            done = list(self._examine(pieces, reversal))
        else:
            done = list(reversal.units)
            self._refuse_irreversible(reversal, done)
        for unit in done:
            self.additions = with_additions(self.additions, unit, reversal.migration.app_label)
            self._done.append((reversal.migration.app_label, unit))

    def would_be_lost(self) -> Iterator[str]:
        if self._done:
            state = self._done[-1][1].after
            yield from lost_without(self.database, self.additions, state)
            yield from lost_by_return(self.database, self._done, self.additions, state)

    def strange(self, definitions: Mapping[str, str]) -> Iterator[str]:
        """Columns that somebody else has added or altered since: to go back would take them along."""
        found = self._unknown(definitions) if self.database.rolls_back_ddl else self._unspoken_of()
        for table, column in found:
            yield _("somebody else has changed table %(table)s since: %(column)s") % {
                "table": table,
                "column": column,
            }

    def _unknown(self, definitions: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """Columns that no migration knows and that were not there before the run."""
        if all(reversal.names for reversal in self.reversals):
            for extra in unknown_columns(self.database.connection):
                if extra.column not in definitions.get(extra.table, ""):
                    yield extra.table, extra.column

    def _unspoken_of(self) -> Iterator[tuple[str, str]]:
        """Columns that are not as the run's last statement on their table has left them."""
        for sql, table, before in self._last_definitions():
            now = {table: self.database.definition(table)}
            for line in self.database.strange(sql, {table: before}, now):
                if line.startswith("`"):
                    yield table, line

    def _last_definitions(self) -> Iterator[tuple[str, str, str]]:
        """For each table the last statement of the run that touched it, and the definition before that."""
        seen: set[str] = set()
        for reversal in self.reversals:
            for piece in Pieces(self.database, self.run_id, reversal).begun():
                for statement in piece.statements:
                    before = json.loads(statement.before)
                    for table in before.keys() - seen:
                        yield statement.sql, table, before[table]
                    seen |= before.keys()

    def _examine(self, pieces: Pieces, reversal: Reversal) -> list[Unit]:
        done = []
        for piece in pieces.begun():
            row = piece.row
            if row.loses and (row.done or any(DESTRUCTIVE.search(it.sql) for it in piece.statements)):
                self.lost.append(row.loses)
            if piece.unit is not None:
                done.append(piece.unit)
            if not pieces.goes_back_by_definition(piece):
                self._refuse_piece(reversal, piece)
        return done[::-1]

    def _refuse_piece(self, reversal: Reversal, piece: Piece) -> None:
        unit = piece.unit
        words = {
            "operation": unit.operation.describe() if unit else _("what was left for the end"),
            "migration": reversal.migration,
        }
        if unit is None or not piece.whole:
            text = _("operation '%(operation)s' of migration %(migration)s was cut off in its middle")
            self.irreversible.append(text % words)
        elif piece.row.signature != unit.signature:
            text = _("operation '%(operation)s' of migration %(migration)s was edited after it was applied")
            self.irreversible.append(text % words)
        else:
            self._refuse_irreversible(reversal, [unit])

    def _refuse_irreversible(self, reversal: Reversal, done: Sequence[Unit]) -> None:
        self.irreversible += [
            _("operation '%(operation)s' of migration %(migration)s has no way back")
            % {"operation": unit.operation.describe(), "migration": reversal.migration}
            for unit in done
            if not unit.operation.reversible
        ]
