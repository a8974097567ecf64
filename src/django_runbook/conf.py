"""The RUNBOOK setting: where runs live, and how services are restarted on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings

KNOWN_SETTINGS = ("DIR", "LOCK_TIMEOUT", "SERVICES")
KNOWN_SERVICE_SETTINGS = ("pid_file", "command", "systemd", "health")


def run_directory() -> Path:
    """Folder of the run folders: RUNBOOK["DIR"], else BASE_DIR/var/runbook, else ./var/runbook."""
    configured = _setting("DIR")
    if configured:
        return Path(configured).absolute()
    base = getattr(settings, "BASE_DIR", None)
    return (Path(base) if base else Path.cwd()).absolute() / "var" / "runbook"


def backup_directory() -> Path:
    """Folder of the backups, beside the runs: they outlive the run that took them."""
    return run_directory() / "backups"


def lock_timeout() -> timedelta:
    """How long a statement of a migration waits for its locks: RUNBOOK["LOCK_TIMEOUT"] in seconds, or 5."""
    return timedelta(seconds=_setting("LOCK_TIMEOUT") or 5)


def service_settings(name: str) -> Mapping[str, Any]:
    """How the service `name` is restarted here: RUNBOOK["SERVICES"][name], empty for systemd."""
    services: Mapping[str, Mapping[str, Any]] = _setting("SERVICES") or {}
    return services.get(name, {})


def configured_services() -> list[str]:
    """Names of the services that this machine says how to restart."""
    return list(_setting("SERVICES") or {})


def _setting(key: str) -> Any:
    return getattr(settings, "RUNBOOK", {}).get(key)
