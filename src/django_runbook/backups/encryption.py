"""Which keys a backup is encrypted to, and which one opens it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _

from django_runbook import age
from django_runbook.backups.choosing import AnyDumper
from django_runbook.backups.manifest import Manifest
from django_runbook.exceptions import Refused


@dataclass(frozen=True, slots=True)
class Keys:
    """Of one backup while it is made; none at all if it is not encrypted."""

    recipients: Sequence[Any] = ()
    identities: Sequence[Any] = ()
    """What the proof opens it with."""


def keys_for(recipients: Sequence[str], dumper: AnyDumper, *, proven: bool) -> Keys:
    """The keys of a backup that is to be encrypted to `recipients`.

    One that is to be proven is also encrypted to a key drawn here, whose secret half is in this process's
    memory alone and is forgotten with it: so the very file is proven, nothing of it is on the disk as plain
    text, and afterwards this machine cannot read it. Raise Refused for a key that is none, or a dumper that
    writes files.
    """
    if not recipients:
        return Keys()
    if dumper.makes_folder:
        raise Refused(
            _("%(dumper)s cannot make an encrypted backup: what it writes would be on the disk before.")
            % {"dumper": dumper.name},
            _('Leave out RUNBOOK["BACKUP"]["DUMPER"], or its RECIPIENTS.'),
        )
    parsed = age.parse_recipients(recipients)
    if not proven:
        return Keys(parsed)
    own = age.make_identity()
    return Keys([*parsed, own.to_public()], [own])


def identities_for(manifest: Manifest, file: Path | None) -> Sequence[Any]:
    """What opens a backup; nothing if it is not encrypted.

    Raise Refused if there is no `file` of secret keys, or none of them opens it.
    """
    if not manifest.recipients:
        return ()
    if file is None:
        raise Refused(
            _("The backup %(path)s is encrypted, to %(recipients)s.")
            % {"path": manifest.dump_path, "recipients": ", ".join(manifest.recipients)},
            _("Name a file with the secret key: --identity FILE."),
        )
    identities = age.load_identities(file)
    try:
        with manifest.dump_path.open("rb") as dump, age.decrypted(dump, identities) as stream:
            stream.read(1)
    except age.Undecipherable as exc:
        raise Refused(
            _("The backup %(path)s cannot be opened with the key in %(file)s: %(error)s.")
            % {"path": manifest.dump_path, "file": file, "error": exc},
            _("It is encrypted to %(recipients)s. The database was not touched.")
            % {"recipients": ", ".join(manifest.recipients)},
        ) from exc
    return identities
