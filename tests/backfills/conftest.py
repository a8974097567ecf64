from __future__ import annotations

import pytest

from django_runbook.databases import Database


@pytest.fixture
def harvest(database: Database) -> Database:
    """A database with the ledger and all tables, which are empty."""
    from harvest import MODELS, create_tables  # models need the settings

    from django_runbook.ledger import Ledger

    Ledger(database.connection).ensure()
    create_tables(database, *MODELS.values())
    return database
