"""runbook.P106: the models have no changes without a migration."""

from __future__ import annotations

from collections.abc import Iterator

from django.apps import apps
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.schema.drift import missing_migrations


def check_models(plan: Plan, database: Database) -> Iterator[Finding]:
    """Code whose models no migration describes would fail on the upgraded database too."""
    loader = plan.steps[0].place.history.loader
    for missing in missing_migrations(loader, apps):
        yield Finding(
            id="runbook.P106",
            severity=Severity.WARNING if missing.third_party else Severity.ERROR,
            message=_("The models of '%(app)s' have changes without a migration: %(changes)s.")
            % {"app": missing.app_label, "changes": "; ".join(missing.operations)},
            hint=_("Run `manage.py makemigrations %(app)s`, look at what it writes, and commit it.")
            % {"app": missing.app_label},
        )


CHECK = Check(
    id="runbook.P106",
    title=gettext_lazy("the models have no changes without a migration"),
    look=check_models,
)
