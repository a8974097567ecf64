"""System checks of the RUNBOOK setting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.utils.translation import gettext as _

from django_runbook.conf import KNOWN_SERVICE_SETTINGS, KNOWN_SETTINGS


@register
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """A misspelt setting would be ignored in silence, on the night when it matters."""
    value = getattr(settings, "RUNBOOK", {})
    if not isinstance(value, dict):
        return [Error(_("RUNBOOK must be a dictionary."), id="runbook.E001")]
    return [*_unknown("RUNBOOK", value, KNOWN_SETTINGS), *_services(value.get("SERVICES", {}))]


def _services(services: Any) -> Iterator[CheckMessage]:
    if not isinstance(services, dict):
        yield Error(_('RUNBOOK["SERVICES"] must be a dictionary.'), id="runbook.E001")
        return
    for name, entry in services.items():
        yield from _unknown(f'RUNBOOK["SERVICES"]["{name}"]', entry, KNOWN_SERVICE_SETTINGS)


def _unknown(where: str, value: dict[str, Any], known: Sequence[str]) -> Iterator[CheckMessage]:
    for key in value:
        if key not in known:
            yield Error(
                _("%(where)s has an unknown key '%(key)s'.") % {"where": where, "key": key},
                hint=_("Known keys: %(keys)s.") % {"keys": ", ".join(known)},
                id="runbook.E002",
            )
