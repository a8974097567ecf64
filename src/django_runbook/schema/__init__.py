"""What is applied, the models that match it, and where the live schema is not what it should be."""

from django_runbook.schema.differences import Difference, Kind
from django_runbook.schema.drift import (
    MissingMigrations,
    compare_schema,
    is_third_party,
    missing_migrations,
)
from django_runbook.schema.states import (
    applied_migrations,
    creating_migration,
    matching_models,
    plan_order,
    state_at,
    unknown_migrations,
)

__all__ = [
    "Difference",
    "Kind",
    "MissingMigrations",
    "applied_migrations",
    "compare_schema",
    "creating_migration",
    "is_third_party",
    "matching_models",
    "missing_migrations",
    "plan_order",
    "state_at",
    "unknown_migrations",
]
