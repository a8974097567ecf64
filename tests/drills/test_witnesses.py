"""What the servers write down is compared by what took effect, not by the numbers that they have drawn."""

from __future__ import annotations

import pytest
from drills import Place
from witnesses import WITNESSES

TABLES = {
    "mariadb": (
        "CREATE TABLE collection (id integer PRIMARY KEY AUTO_INCREMENT, name text)",
        "CREATE TABLE document (id integer PRIMARY KEY)",
    ),
    "postgresql": (
        "CREATE TABLE collection (id serial PRIMARY KEY, name text)",
        "CREATE TABLE document (id integer PRIMARY KEY)",
    ),
}
ADDED = {
    "mariadb": "ALTER TABLE `document` ADD COLUMN `collection_id` integer DEFAULT {} NOT NULL ,"
    " ADD CONSTRAINT `document_fk` FOREIGN KEY (`collection_id`) REFERENCES `collection`(`id`)",
    "postgresql": 'ALTER TABLE "document" ADD COLUMN "collection_id" integer DEFAULT {} NOT NULL'
    ' CONSTRAINT "document_fk" REFERENCES "collection"("id") DEFERRABLE INITIALLY DEFERRED',
}
"""As Django writes an AddField of a foreign key whose default is a callable."""


@pytest.mark.parametrize("kind", ADDED)
def test_a_default_that_refers_to_a_row_goes_by_its_place_whatever_number_it_has_drawn(
    make_place: Place, kind: str
):
    """A killed transaction had drawn the number 1: the statement has another text, and the same effect."""
    with make_place(kind) as database:
        for statement in TABLES[kind]:
            database.ask_nothing(statement)
        witness = WITNESSES[kind](database)
        for end in ("ROLLBACK", "COMMIT"):
            database.ask_nothing("BEGIN")
            database.ask_nothing("INSERT INTO collection (name) VALUES ('Root')")
            database.ask_nothing(end)
        assert database.ask("SELECT id FROM collection") == [(2,)]
        database.ask_nothing(ADDED[kind].format(2))
        assert witness.effects() == {ADDED[kind].format("collection 1"): 1}
        assert witness.statements([ADDED[kind].format(3)]) == {ADDED[kind].format(3): 1}
