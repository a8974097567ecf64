from __future__ import annotations

import errno
import io
import os
import sys
import threading
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from django.core.checks import run_checks
from django.test import override_settings
from folder_dumpers import provide
from situations import fill, run

from django_runbook import age
from django_runbook.backups import (
    Level,
    Terms,
    load_manifest,
    make_backup,
    manifest,
    restore_backup,
    streams,
    terms_for,
    writing,
)
from django_runbook.databases import Database
from django_runbook.exceptions import Refused, RestoreFailed

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
KEY = pyrage.x25519.Identity.generate()
PUBLIC = str(KEY.to_public())
WORD = "unmistakable"
"""In a row: where it can be read, there is plain text."""


def encrypting(level: Level = Level.PROVEN, recipients: tuple[str, ...] = (PUBLIC,)) -> Terms:
    return Terms(level=level, recipients=recipients)


@pytest.fixture
def folder(database: Database, tmp_path: Path) -> Path:
    fill(database)
    run(database, f"INSERT INTO parent VALUES (7, '{WORD}')")
    return tmp_path / "backups"


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    return write_identity(tmp_path, KEY)


def write_identity(folder: Path, *keys: Any) -> Path:
    """As `age-keygen` writes it."""
    path = folder / "key.txt"
    lines = "".join(f"# public key: {key.to_public()}\n{key}\n" for key in keys)
    path.write_text(f"# created: 2026-01-31T12:00:00Z\n{lines}")
    return path


def test_an_encrypted_backup_is_proven_and_only_its_key_restores_it(
    database: Database, folder: Path, identity: Path
) -> None:
    made = make_backup(database, folder, terms=encrypting(), now=NOW)
    assert made.level is Level.PROVEN
    assert made.recipients == (PUBLIC,)
    assert made.file.endswith(f"{database.dumper.suffix}.zst.age")
    assert load_manifest(made.path) == made
    run(database, "DELETE FROM child")
    with pytest.raises(Refused) as caught:
        restore_backup(made.path, database)
    assert str(caught.value) == (
        f"The backup {made.dump_path} is encrypted, to {PUBLIC}.\n"
        "Name a file with the secret key: --identity FILE."
    )
    assert database.row_counts()["child"] == 0
    assert restore_backup(made.path, database, identity=identity) == made
    assert database.row_counts()["child"] > 0


@SQLITE
def test_the_file_is_what_age_itself_would_read(database: Database, folder: Path) -> None:
    made = make_backup(database, folder, terms=encrypting(), now=NOW)
    raw = made.dump_path.read_bytes()
    assert raw.startswith(b"age-encryption.org/v1\n")
    decompressed = streams.ZstdDecompressor().stream_reader(pyrage.decrypt(raw, [KEY])).read()
    assert decompressed.startswith(b"SQLite format 3")
    assert made.dump_bytes == len(decompressed)
    assert [(it.bytes, it.sha256) for it in made.files] == [(len(raw), sha256(raw).hexdigest())]


def test_nothing_is_ever_in_the_folder_as_plain_text(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But SQLite's private copy, which is gone before the proof."""
    beginnings = []
    prove = writing.prove

    def watched(*args: Any, **terms: Any) -> float:
        beginnings.extend(path.read_bytes()[:21] for path in folder.rglob("*") if path.is_file())
        return prove(*args, **terms)

    monkeypatch.setattr(writing, "prove", watched)
    make_backup(database, folder, terms=encrypting(), now=NOW)
    assert beginnings == [b"age-encryption.org/v1"]


@SQLITE
def test_the_key_of_the_proof_is_nowhere_and_a_checksummed_backup_has_none(
    database: Database, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    make_identity = age.make_identity

    def watched() -> Any:
        drawn.append(make_identity())
        return drawn[-1]

    monkeypatch.setattr(age, "make_identity", watched)
    made = make_backup(database, folder, terms=encrypting(), now=NOW)
    [own] = drawn
    assert made.dump_path.read_bytes().count(b"-> X25519 ") == 2
    content = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert str(own).encode() not in content
    made = make_backup(database, folder, terms=encrypting(Level.CHECKSUMMED), now=NOW)
    assert made.dump_path.read_bytes().count(b"-> X25519 ") == 1
    assert drawn == [own]


@SQLITE
def test_each_of_several_keys_opens_it(database: Database, folder: Path, tmp_path: Path) -> None:
    other = pyrage.x25519.Identity.generate()
    terms = encrypting(recipients=(str(other.to_public()), PUBLIC))
    made = make_backup(database, folder, terms=terms, now=NOW)
    for keys in ([other], [KEY], [pyrage.x25519.Identity.generate(), KEY]):
        restore_backup(made.path, database, identity=write_identity(tmp_path, *keys))


@SQLITE
def test_a_key_of_openssh_will_do(database: Database, folder: Path, tmp_path: Path) -> None:
    secret = ed25519.Ed25519PrivateKey.generate()
    public = secret.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    (tmp_path / "id").write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    made = make_backup(database, folder, terms=encrypting(recipients=(public,)), now=NOW)
    assert restore_backup(made.path, database, identity=tmp_path / "id") == made


@SQLITE
def test_another_key_is_refused_before_anything_is_touched(
    database: Database, folder: Path, tmp_path: Path
) -> None:
    made = make_backup(database, folder, terms=encrypting(), now=NOW)
    run(database, "CREATE TABLE since (x INTEGER)")
    other = write_identity(tmp_path, pyrage.x25519.Identity.generate())
    with pytest.raises(Refused) as caught:
        restore_backup(made.path, database, identity=other)
    assert str(caught.value) == (
        f"The backup {made.dump_path} cannot be opened with the key in {other}: No matching keys found.\n"
        f"It is encrypted to {PUBLIC}. The database was not touched."
    )
    assert "since" in database.row_counts()


@SQLITE
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file or directory"),
        ("", "there is none"),
        ("# only a comment\n", "there is none"),
        ("AGE-SECRET-KEY-1NONSENSE\n", "invalid Bech32 encoding"),
        (PUBLIC, "incorrect HRP"),
    ],
    ids=["no file", "nothing", "a comment", "nonsense", "a public key"],
)
def test_a_file_without_a_secret_key_is_refused(
    database: Database, folder: Path, tmp_path: Path, content: str | None, why: str
) -> None:
    made = make_backup(database, folder, terms=encrypting(), now=NOW)
    if content is not None:
        (tmp_path / "key").write_text(content)
    with pytest.raises(Refused) as caught:
        restore_backup(made.path, database, identity=tmp_path / "key")
    assert caught.value.message == f"No secret key of age can be read from {tmp_path / 'key'}: {why}."


@SQLITE
def test_an_encrypted_dump_that_is_damaged_and_whose_manifest_agrees_is_not_taken_for_whole(
    database: Database, folder: Path, identity: Path
) -> None:
    made = make_backup(database, folder, terms=encrypting(), now=NOW)
    content = made.dump_path.read_bytes()[:-1]
    made.dump_path.write_bytes(content)
    file = replace(made.files[0], bytes=len(content), sha256=sha256(content).hexdigest())
    made.path.write_text(manifest.to_json(replace(made, files=(file,))))
    with pytest.raises((Refused, RestoreFailed), match="cannot be"):
        restore_backup(made.path, database, identity=identity)
    assert database.row_counts()["parent"] == 3


@SQLITE
def test_a_dumper_that_writes_files_does_not_make_encrypted_backups(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provide(monkeypatch, database)
    keys = {"RECIPIENTS": [PUBLIC], "PARALLEL_FROM": 0, "JOBS": 2}
    with override_settings(RUNBOOK={"BACKUP": keys}):
        terms = terms_for(database)
        assert terms.recipients == (PUBLIC,)
        assert (terms.dumper, terms.dumper_reason) == (
            "online backup",
            "an encrypted backup is one stream",
        )
    with (
        override_settings(RUNBOOK={"BACKUP": {**keys, "DUMPER": "pieces"}}),
        pytest.raises(Refused, match="by pieces: what it writes would be on the disk before"),
    ):
        terms_for(database)
    with pytest.raises(Refused, match="pieces cannot make an encrypted backup"):
        make_backup(database, folder, terms=replace(encrypting(), dumper="pieces"), now=NOW)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["age1nonsense"], "'age1nonsense' is no public key of age: invalid Bech32 encoding."),
        ([""], "'' is no public key of age: invalid Bech32 encoding."),
        (["ssh-rsa nonsense"], "'ssh-rsa nonsense' is no public key of age: "),
        ([str(KEY)], "A secret key stands among the public keys."),
        ([7], "'7' is no public key of age: it is no text."),
        (PUBLIC, 'RUNBOOK["BACKUP"]["RECIPIENTS"] must be a list of public keys.'),
    ],
    ids=["nonsense", "nothing", "of OpenSSH", "a secret key", "a number", "no list"],
)
def test_a_key_that_is_none_is_found_by_the_system_checks(keys: Any, message: str) -> None:
    with override_settings(RUNBOOK={"BACKUP": {"RECIPIENTS": keys}}):
        [error] = [it for it in run_checks() if it.id and it.id.startswith("runbook.")]
        assert error.id == "runbook.E003"
        assert error.msg.startswith(message)
        assert str(KEY) not in error.msg


@SQLITE
def test_without_pyrage_an_encrypted_backup_is_refused(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyrage", None)
    with (
        override_settings(RUNBOOK={"BACKUP": {"RECIPIENTS": [PUBLIC]}}),
        pytest.raises(Refused) as caught,
    ):
        terms_for(database)
    assert str(caught.value) == (
        "Encrypted backups need pyrage, which is not installed.\n"
        "Install it: `python -m pip install 'django-runbook[encryption]'`."
    )
    assert make_backup(database, folder, terms=Terms(), now=NOW).recipients == ()


class Full(io.RawIOBase):
    """A file on a disk that becomes full."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, content: Any) -> int:
        self.room -= len(content)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return len(content)


@pytest.mark.parametrize("room", [0, 300_000, 1_000_000])
def test_what_the_disk_says_of_the_encrypted_file_is_told_as_it_is(room: int) -> None:
    threads = threading.active_count()
    with pytest.raises(OSError, match="No space left") as caught, encrypting_to(Full(room)) as stream:
        stream.write(os.urandom(1_000_000))
    assert caught.value.errno == errno.ENOSPC
    assert threading.active_count() == threads


def test_what_the_writer_raises_ends_the_encryption() -> None:
    threads = threading.active_count()
    with pytest.raises(ZeroDivisionError), encrypting_to(io.BytesIO()) as stream:
        stream.write(bytes(1 // len(b"")))
    assert threading.active_count() == threads


def test_a_reader_may_stop_in_the_middle() -> None:
    threads = threading.active_count()
    with age.decrypted(io.BytesIO(sealed(os.urandom(1_000_000))), [KEY]) as stream:
        assert len(stream.read(10)) == 10
    assert threading.active_count() == threads


@pytest.mark.parametrize("spoilt", [slice(0, -1), slice(0, 70_000), slice(0, 20), slice(0, 0)])
def test_a_cut_stream_does_not_just_end(spoilt: slice) -> None:
    source = io.BytesIO(sealed(bytes(200_000))[spoilt])
    with age.decrypted(source, [KEY]) as stream, pytest.raises(age.Undecipherable):
        list(iter(lambda: stream.read(8192), b""))


def encrypting_to(target: Any) -> AbstractContextManager[Any]:
    return age.encrypted(target, [KEY.to_public()])


def sealed(content: bytes) -> bytes:
    target = io.BytesIO()
    with encrypting_to(target) as stream:
        stream.write(content)
    return target.getvalue()
