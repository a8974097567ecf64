"""System checks of the RUNBOOK setting."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.utils.translation import gettext as _

from django_runbook.conf import (
    BACKFILL_SETTINGS,
    BACKUP_SETTINGS,
    KNOWN_BACKFILL_SETTINGS,
    KNOWN_BACKUP_SETTINGS,
    KNOWN_SERVICE_SETTINGS,
    KNOWN_SETTINGS,
)
from django_runbook.exceptions import Refused


@register
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """A misspelt setting would be ignored in silence, on the night when it matters."""
    value = getattr(settings, "RUNBOOK", {})
    if not isinstance(value, dict):
        return [Error(_("RUNBOOK must be a dictionary."), id="runbook.E001")]
    return [
        *_unknown("RUNBOOK", value, KNOWN_SETTINGS),
        *_section("BACKFILL", value, KNOWN_BACKFILL_SETTINGS, BACKFILL_SETTINGS),
        *_section("BACKUP", value, KNOWN_BACKUP_SETTINGS, BACKUP_SETTINGS),
        *_services(value.get("SERVICES", {})),
    ]


def _section(
    name: str, value: dict[str, Any], known: Sequence[str], reading: Sequence[Callable[[], object]]
) -> Iterator[CheckMessage]:
    section = value.get(name, {})
    if not isinstance(section, dict):
        text = _("RUNBOOK['%(name)s'] must be a dictionary.") % {"name": name}
        yield Error(text, id="runbook.E001")
        return
    yield from _unknown(f'RUNBOOK["{name}"]', section, known)
    for read in reading:
        try:
            read()
        except Refused as error:
            yield Error(error.message, hint=error.hint, id="runbook.E003")


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
