"""How a backup is to be taken here: as the settings say, and as far as the server allows."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _

from django_runbook.backups.choosing import choose_dumper
from django_runbook.backups.manifest import Level
from django_runbook.backups.space import mebibytes
from django_runbook.conf import (
    backup_grants,
    backup_jobs,
    backup_level,
    backup_recipients,
    backup_storage,
    proof_limit,
)
from django_runbook.databases import Database
from django_runbook.databases.scratch import refused_scratch_of
from django_runbook.exceptions import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a backup is to be taken."""

    level: Level = Level.CHECKSUMMED
    level_reason: str = ""
    """Why it is not to be proven, in words."""
    dumper: str = ""
    """What is to make it, by name; empty for the database's own stream."""
    dumper_reason: str = ""
    """Why it was chosen, in words."""
    jobs: int = 1
    """How many sessions a dump of many files, and its restore, may use at a time."""
    recipients: tuple[str, ...] = ()
    """Public keys to encrypt it to; none: it is not encrypted. Only a stream can be."""
    grants: bool = False
    """Are the rights of users to be kept, where they lie outside of the database?"""
    storage: str = ""
    """Alias of the storage that it is copied to; empty: none."""


def terms_for(database: Database, *, level: str = "") -> Terms:
    """What the settings say of backups, and the size of the database; `level` goes before the setting.

    Raise Refused if they demand a proof that this server or user cannot give, or a dumper that cannot work.
    """
    possible, reason = _level(database, level or backup_level())
    choice = choose_dumper(database)
    return Terms(
        level=possible,
        level_reason=reason,
        dumper=choice.dumper.name,
        dumper_reason=choice.reason,
        jobs=backup_jobs(),
        recipients=backup_recipients(),
        grants=backup_grants(),
        storage=backup_storage(),
    )


def _level(database: Database, wanted: str) -> tuple[Level, str]:
    """The level, and if it is not proven why, in words."""
    if wanted == Level.CHECKSUMMED:
        return Level.CHECKSUMMED, _("no proof was asked for")
    against = refused_scratch_of(database)
    if wanted == Level.PROVEN:
        if against:
            raise Refused(
                _("The backup of database '%(alias)s' cannot be proven: %(why)s")
                % {"alias": database.alias, "why": against},
                _('Allow it, or set RUNBOOK["BACKUP"]["LEVEL"] to "checksummed".'),
            )
        return Level.PROVEN, ""
    if against:
        return Level.CHECKSUMMED, against
    size, limit = database.size(), proof_limit()
    if size > limit:
        return Level.CHECKSUMMED, _("the database has %(size)s, and is proven up to %(limit)s") % {
            "size": mebibytes(size),
            "limit": mebibytes(limit),
        }
    return Level.PROVEN, ""
