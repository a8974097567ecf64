"""Which of a database's dumpers is used."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _

from django_runbook.backups.manifest import Manifest
from django_runbook.backups.space import mebibytes
from django_runbook.conf import backup_dumper, backup_jobs, backup_recipients, parallel_from
from django_runbook.databases import Database
from django_runbook.databases.dumpers import FolderDumper, StreamDumper
from django_runbook.exceptions import Refused

AnyDumper = StreamDumper | FolderDumper


@dataclass(frozen=True, slots=True)
class Choice:
    dumper: AnyDumper
    reason: str
    """In words, for the operator."""


def dumpers_of(database: Database) -> dict[str, AnyDumper]:
    """All of them by name, the one that is always there first."""
    dumpers: list[AnyDumper] = [database.dumper, *database.folder_dumpers]
    return {dumper.name: dumper for dumper in dumpers}


def choose_dumper(database: Database) -> Choice:
    """What the settings name, or else the quickest that can dump this database exactly.

    Raise Refused if the settings name one that cannot.
    """
    name = backup_dumper()
    if name:
        dumper = dumper_named(name, database)
        if against := _unencryptable(dumper) or dumper.unfit():
            raise Refused(
                _("The backup of database '%(alias)s' cannot be made by %(dumper)s: %(why)s")
                % {"alias": database.alias, "dumper": name, "why": against},
                _('Mend that, or leave out RUNBOOK["BACKUP"]["DUMPER"].'),
            )
        return Choice(dumper, _("the settings say so"))
    if backup_recipients():
        return Choice(database.dumper, _("an encrypted backup is one stream"))
    if not database.folder_dumpers:
        return Choice(database.dumper, _("this kind of database has no other"))
    return _by_size(database)


def _unencryptable(dumper: AnyDumper) -> str:
    """Why its dump cannot be encrypted as the settings want, in words.

    A program that writes many files writes them to the disk as they are.
    """
    if dumper.makes_folder and backup_recipients():
        return _("what it writes would be on the disk before it is encrypted.")
    return ""


def _by_size(database: Database) -> Choice:
    size, limit = database.size(), parallel_from()
    facts = _("the database has %(size)s, parallel dumps begin at %(limit)s") % {
        "size": mebibytes(size),
        "limit": mebibytes(limit),
    }
    if size < limit:
        return Choice(database.dumper, facts)
    if backup_jobs() == 1:
        return Choice(database.dumper, _("only one session at a time is allowed"))
    against = []
    for dumper in database.folder_dumpers:
        why = dumper.unfit()
        if not why:
            return Choice(dumper, facts)
        against.append(f"{dumper.name}: {why}")
    return Choice(database.dumper, " ".join(against))


def dumper_named(name: str, database: Database) -> AnyDumper:
    """Raise Refused if there is none of that name."""
    known = dumpers_of(database)
    if name not in known:
        raise Refused(
            _("Database '%(alias)s' has no dumper called '%(dumper)s'.")
            % {"alias": database.alias, "dumper": name},
            _("It has: %(known)s.") % {"known": ", ".join(known)},
        )
    return known[name]


def dumper_that_restores(manifest: Manifest, database: Database) -> AnyDumper:
    """The one that made a backup. Raise Refused if it is not known here, or cannot work."""
    dumper = dumpers_of(database).get(manifest.dumper)
    if dumper is None:
        raise Refused(
            _("The backup %(path)s was made by %(dumper)s, which is not known here.")
            % {"path": manifest.path, "dumper": manifest.dumper},
            _("Restore it with the version of django-runbook that made it."),
        )
    against = dumper.unfit_to_restore()
    if against:
        raise Refused(
            _("The backup %(path)s is to be restored by %(dumper)s, which cannot be used here: %(why)s")
            % {"path": manifest.path, "dumper": manifest.dumper, "why": against},
            _("Mend that, or choose another backup. The database was not touched."),
        )
    return dumper
