"""Which of Django's own tests do not pass with the crash-safe executor, and why.

The test holds this list in both directions: a test that fails and is not here, or is here and passes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import django


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Why a test fails; with other words than these it would be for another reason."""

    reason: str
    words: re.Pattern[str]
    """What the test says."""


COUNTING = Difference(
    reason="It counts every query of an operation that has nothing to send to the server, or one statement. "
    "The ledger asks if the operation is known, and writes it down: on the same connection, so it counts.",
    words=re.compile(r"AssertionError: \d+ != \d( : \d+ queries executed, \d expected)?"),
)
READING = Difference(
    reason="It looks for CREATE TABLE in what was sent, to see that no table is made anew. SHOW CREATE TABLE "
    "is how a table is fingerprinted, and the ledger is sent the statement before the server is.",
    words=re.compile(r"AssertionError: (True is not False|2 != 1)"),
)
UNDER_THE_NEW_NAME = Difference(
    reason="It renames a column and changes the type of its sequence in one call, for which Django asks the "
    "server by the new name: nothing has that name while the call is collected. A run does not send such an "
    "operation as collected: no statement of it needs autocommit, so Django's own editor does it all.",
    words=re.compile(r"AssertionError: 'bigint' != 'integer'"),
)
MARKED = Difference(
    reason="It looks for a statement that begins with ALTER TABLE. What a run sends begins with a comment, "
    "by which a resume finds it in the server.",
    words=re.compile(r"AssertionError: False is not true"),
)

Tests = dict[str, Difference]

OPERATIONS = "migrations.test_operations.OperationTests."
SCHEMA = "schema.tests.SchemaTests."

EVERYWHERE: Tests = dict.fromkeys(
    (
        f"{OPERATIONS}test_alter_constraint",
        f"{OPERATIONS}test_alter_field_add_db_column_noop",
        f"{OPERATIONS}test_rename_field_with_db_column",
        f"{OPERATIONS}test_rename_index",
        f"{OPERATIONS}test_rename_model_no_relations_with_db_table_noop",
        f"{OPERATIONS}test_rename_model_with_db_table_and_fk_noop",
    ),
    COUNTING,
)
WITHOUT_SUPPORT: Tests = dict.fromkeys(
    (
        f"{OPERATIONS}test_add_covering_unique_constraint",
        f"{OPERATIONS}test_add_deferred_unique_constraint",
        f"{OPERATIONS}test_remove_covering_unique_constraint",
        f"{OPERATIONS}test_remove_deferred_unique_constraint",
    ),
    COUNTING,
)
"""Where the server has no such constraint, Django sends nothing; elsewhere these count nothing."""

FROM_THE_LEDGER: Tests = {
    **dict.fromkeys(
        (
            f"{SCHEMA}test_alter_field_choices_noop",
            f"{SCHEMA}test_alter_field_default_doesnt_perform_queries",
            f"{SCHEMA}test_alter_field_fk_attributes_noop",
            f"{SCHEMA}test_db_default_equivalent_sql_noop",
            f"{SCHEMA}test_func_index_unsupported",
            f"{SCHEMA}test_func_unique_constraint_unsupported",
            f"{SCHEMA}test_unique_constraint_nulls_distinct_unsupported",
        ),
        COUNTING,
    ),
    **dict.fromkeys(
        (
            f"{SCHEMA}test_add_field",
            f"{SCHEMA}test_add_generated_field_with_kt_model",
            f"{SCHEMA}test_m2m",
            f"{SCHEMA}test_m2m_custom",
            f"{SCHEMA}test_m2m_inherited",
            f"{SCHEMA}test_remove_field",
        ),
        READING,
    ),
}
"""Where a statement is sent from the ledger."""

PER_KIND: dict[str, Tests] = {
    "sqlite": WITHOUT_SUPPORT,
    "mariadb": {**WITHOUT_SUPPORT, **FROM_THE_LEDGER},
    "postgresql": {f"{SCHEMA}test_alter_serial_auto_field_to_bigautofield": UNDER_THE_NEW_NAME},
}

SINCE_6_1: Tests = {f"{OPERATIONS}test_alter_field_python_level_on_delete_noop": COUNTING}
SINCE_6_1_PER_KIND: dict[str, Tests] = {
    "sqlite": SINCE_6_1,
    "mariadb": {
        **SINCE_6_1,
        f"{SCHEMA}test_fk_alter_on_delete_python_level_noop": COUNTING,
        f"{SCHEMA}test_inline_fk_db_on_delete": MARKED,
    },
    "postgresql": SINCE_6_1,
}
"""Django 5.2 and 6.0 do not have these tests."""


def differences(kind: str) -> Tests:
    """Each test that differs on this kind of database, with the Django that is installed."""
    return {**EVERYWHERE, **PER_KIND[kind], **(SINCE_6_1_PER_KIND[kind] if django.VERSION >= (6, 1) else {})}
