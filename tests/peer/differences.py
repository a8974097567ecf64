"""Which of Django's own tests do not pass with the crash-safe executor, and why.

The test holds this list in both directions: a test that fails and is not here, or is here and passes.
"""

from __future__ import annotations

import re

COUNTING = (
    "It counts every query of an operation that has nothing to send to the server, or one statement. The "
    "ledger asks whether the operation is known, and writes it down: on the same connection, so it counts."
)
COUNTED = re.compile(r"AssertionError: \d+ != \d( : \d+ queries executed, \d expected)?")
"""What a test says that counts more than it expects; with any other words it is another difference."""

OPERATIONS = "migrations.test_operations.OperationTests."
EVERYWHERE = (
    "test_alter_constraint",
    "test_alter_field_add_db_column_noop",
    "test_rename_field_with_db_column",
    "test_rename_index",
    "test_rename_model_no_relations_with_db_table_noop",
    "test_rename_model_with_db_table_and_fk_noop",
)
WITHOUT_SUPPORT = (
    "test_add_covering_unique_constraint",
    "test_add_deferred_unique_constraint",
    "test_remove_covering_unique_constraint",
    "test_remove_deferred_unique_constraint",
)
"""Where the server has no such constraint, Django sends nothing; elsewhere these count nothing."""


def differences(kind: str) -> dict[str, str]:
    """Each test that differs on this kind of database, and the reason."""
    names = EVERYWHERE if kind == "postgresql" else (*EVERYWHERE, *WITHOUT_SUPPORT)
    return {OPERATIONS + name: COUNTING for name in names}
