"""The RUNBOOK setting: where runs live, and how services are restarted on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.core.files.storage import FileSystemStorage, InvalidStorageError, storages
from django.db import connections
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _

from django_runbook.age import parse_recipients
from django_runbook.exceptions import Refused

Default = TypeVar("Default", int, None)

KNOWN_SETTINGS = ("BACKFILL", "BACKUP", "CHECK_SECONDS", "DIR", "LOCK_TIMEOUT", "SERVICES")
KNOWN_BACKUP_SETTINGS = (
    "DUMPER",
    "GRANTS",
    "JOBS",
    "KEEP_DAYS",
    "KEEP_LAST",
    "LEVEL",
    "PARALLEL_FROM",
    "PROVE_ON",
    "PROVE_UP_TO",
    "RECIPIENTS",
    "STORAGE",
)
KNOWN_BACKFILL_SETTINGS = (
    "MAX_LAG",
    "MAX_RATE",
    "MAX_RUNNING",
    "MAX_WAITING",
    "REPLICAS",
    "TARGET",
    "THROTTLE",
)
OF_ALL, OF_OTHERS = 0o777, 0o077
"""Parts of a file's mode."""
BACKUP_LEVELS = ("", "proven", "checksummed")
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


def backup_level() -> str:
    """RUNBOOK["BACKUP"]["LEVEL"], "proven" or "checksummed"; empty to decide by size."""
    level = _section("BACKUP", "LEVEL") or ""
    if level not in BACKUP_LEVELS:
        raise _wrong("LEVEL", _('must be "proven" or "checksummed", or empty to decide by size'))
    return str(level)


def proof_limit() -> int:
    """Bytes of table data up to which a backup is proven by default: RUNBOOK["BACKUP"]["PROVE_UP_TO"]."""
    return _whole_number("PROVE_UP_TO", at_least=0, default=20 * 1024**3)


def scratch_alias() -> str:
    """Alias in DATABASES on whose server scratch databases are made: RUNBOOK["BACKUP"]["PROVE_ON"].

    Empty for the server of the database itself.
    """
    alias = _section("BACKUP", "PROVE_ON") or ""
    if alias and alias not in connections.settings:
        raise _wrong("PROVE_ON", _("must be an alias of DATABASES"))
    return str(alias)


def backup_dumper() -> str:
    """Name of the dumper to be used, RUNBOOK["BACKUP"]["DUMPER"]; empty to choose by size."""
    name = _section("BACKUP", "DUMPER") or ""
    if not isinstance(name, str):
        raise _wrong("DUMPER", _("must be a name"))
    return name


def parallel_from() -> int:
    """Bytes of table data from which several sessions dump: RUNBOOK["BACKUP"]["PARALLEL_FROM"], or 1 GiB."""
    return _whole_number("PARALLEL_FROM", at_least=0, default=1024**3)


def backup_jobs() -> int:
    """Sessions that a dump of many files may use: RUNBOOK["BACKUP"]["JOBS"], or one for each CPU up to 4."""
    return _whole_number("JOBS", at_least=1, default=min(4, os.cpu_count() or 1))


def keep_last() -> int | None:
    """How many backups of a database are kept, RUNBOOK["BACKUP"]["KEEP_LAST"]; None if that is no rule."""
    return _whole_number("KEEP_LAST", at_least=1, default=None)


def keep_days() -> int | None:
    """How long backups are kept, RUNBOOK["BACKUP"]["KEEP_DAYS"]; None if that is no rule."""
    return _whole_number("KEEP_DAYS", at_least=1, default=None)


def backup_recipients() -> tuple[str, ...]:
    """Public keys that backups are encrypted to, RUNBOOK["BACKUP"]["RECIPIENTS"]; none: they are not."""
    keys = _section("BACKUP", "RECIPIENTS") or ()
    if not isinstance(keys, list | tuple):
        raise _wrong("RECIPIENTS", _("must be a list of public keys"))
    parse_recipients(keys)
    return tuple(keys)


def backup_grants() -> bool:
    """Are the rights of users on the database kept with its backup? RUNBOOK["BACKUP"]["GRANTS"], or no."""
    wanted = _section("BACKUP", "GRANTS") or False
    if not isinstance(wanted, bool):
        raise _wrong("GRANTS", _("must be True or False"))
    return wanted


def backup_storage() -> str:
    """Alias in STORAGES where backups are copied, RUNBOOK["BACKUP"]["STORAGE"]; empty: nowhere.

    Raise Refused if it is none, or if others on this machine may read what is put there.
    """
    alias = _section("BACKUP", "STORAGE") or ""
    if not alias:
        return ""
    try:
        storage = storages[alias]
    except (InvalidStorageError, TypeError) as exc:
        raise _wrong("STORAGE", _("must be an alias of STORAGES (%(error)s)") % {"error": exc}) from exc
    if isinstance(storage, FileSystemStorage) and (storage.file_permissions_mode or OF_ALL) & OF_OTHERS:
        raise Refused(
            _("Every user of this machine may read the files in the storage '%(alias)s'.") % {"alias": alias},
            _('Give it the OPTIONS "file_permissions_mode": 0o600 and "directory_permissions_mode": 0o700.'),
        )
    return str(alias)


def backfill_target() -> float:
    """Seconds that a batch of a backfill is to take: RUNBOOK["BACKFILL"]["TARGET"], or 0.1."""
    return _positive("TARGET", default=0.1)


def backfill_rate() -> int | None:
    """Rows a second that a backfill may do, RUNBOOK["BACKFILL"]["MAX_RATE"]; None: as many as it can."""
    return _whole_number("MAX_RATE", at_least=1, default=None, section="BACKFILL")


def backfill_lag() -> float:
    """Seconds by which a replica may be behind: RUNBOOK["BACKFILL"]["MAX_LAG"], or 5."""
    return _positive("MAX_LAG", default=5.0)


def backfill_running() -> int:
    """Sessions that may be at work on the server: RUNBOOK["BACKFILL"]["MAX_RUNNING"], or 50."""
    return _whole_number("MAX_RUNNING", at_least=0, default=50, section="BACKFILL")


def backfill_waiting() -> int:
    """Sessions that may wait for locks: RUNBOOK["BACKFILL"]["MAX_WAITING"], or 10."""
    return _whole_number("MAX_WAITING", at_least=0, default=10, section="BACKFILL")


def backfill_replicas() -> tuple[str, ...]:
    """Aliases in DATABASES of the replicas whose lag is watched: RUNBOOK["BACKFILL"]["REPLICAS"]."""
    aliases = _section("BACKFILL", "REPLICAS") or ()
    if not isinstance(aliases, list | tuple) or any(alias not in connections.settings for alias in aliases):
        raise _wrong("REPLICAS", _("must be a list of aliases of DATABASES"), "BACKFILL")
    return tuple(aliases)


def backfill_throttle() -> Callable[[], object] | None:
    """The project's own signal of health: what RUNBOOK["BACKFILL"]["THROTTLE"] names, or None."""
    path = _section("BACKFILL", "THROTTLE")
    if not path:
        return None
    try:
        found: Callable[[], object] = import_string(path)
    except ImportError as exc:
        raise _wrong("THROTTLE", _("must name a function (%(error)s)") % {"error": exc}, "BACKFILL") from exc
    return found


def backfill_lease() -> timedelta:
    """How long a worker not heard of keeps its range: RUNBOOK["BACKFILL"]["LEASE"] in seconds, or 30."""
    return timedelta(seconds=_positive("LEASE", default=30.0))


def backfill_queue() -> str | None:
    """Celery's queue for a backfill's workers, RUNBOOK["BACKFILL"]["QUEUE"]; None: where Celery routes it."""
    return _section("BACKFILL", "QUEUE") or None


def lock_timeout() -> timedelta:
    """How long a statement of a migration waits for its locks: RUNBOOK["LOCK_TIMEOUT"] in seconds, or 5."""
    return timedelta(seconds=_setting("LOCK_TIMEOUT") or 5)


def check_limit() -> timedelta:
    """How long the check before step one may ask the database: RUNBOOK["CHECK_SECONDS"], or 120."""
    return timedelta(seconds=_setting("CHECK_SECONDS") or 120)


def service_settings(name: str) -> Mapping[str, Any]:
    """How the service `name` is restarted here: RUNBOOK["SERVICES"][name], empty for systemd."""
    services: Mapping[str, Mapping[str, Any]] = _setting("SERVICES") or {}
    return services.get(name, {})


def configured_services() -> list[str]:
    """Names of the services that this machine says how to restart."""
    return list(_setting("SERVICES") or {})


def _whole_number(key: str, *, at_least: int, default: Default, section: str = "BACKUP") -> int | Default:
    """RUNBOOK[section][key]. Raise Refused if it is something else."""
    number = _section(section, key)
    if number is None:
        return default
    if not isinstance(number, int) or isinstance(number, bool) or number < at_least:
        raise _wrong(key, _("must be a whole number, %(least)d or more") % {"least": at_least}, section)
    return number


def _positive(key: str, *, default: float) -> float:
    number = _section("BACKFILL", key)
    if number is None:
        return default
    if not isinstance(number, int | float) or isinstance(number, bool) or number <= 0:
        raise _wrong(key, _("must be a number of seconds above 0"), "BACKFILL")
    return float(number)


def _wrong(key: str, what: str, section: str = "BACKUP") -> Refused:
    return Refused(
        f'RUNBOOK["{section}"]["{key}"] {what}.', _("The reference of the settings says what they mean.")
    )


def _section(section: str, key: str) -> Any:
    return (_setting(section) or {}).get(key)


def _setting(key: str) -> Any:
    return getattr(settings, "RUNBOOK", {}).get(key)


BACKUP_SETTINGS = (
    backup_level,
    proof_limit,
    scratch_alias,
    backup_dumper,
    parallel_from,
    backup_jobs,
    keep_last,
    keep_days,
    backup_recipients,
    backup_grants,
    backup_storage,
)
"""What reads RUNBOOK["BACKUP"]; each raises Refused for a value that it cannot use."""
BACKFILL_SETTINGS = (
    backfill_target,
    backfill_rate,
    backfill_lag,
    backfill_running,
    backfill_waiting,
    backfill_replicas,
    backfill_throttle,
    backfill_lease,
)
"""What reads RUNBOOK["BACKFILL"], in the same way."""
