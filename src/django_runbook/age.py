"""age encryption of streams, in constant memory: by pyrage, which the extra `encryption` installs.

pyrage pulls from one stream and pushes into another until the end; so it works in a thread of its own, at the
other end of a pipe.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import IO, Any, cast

from django.utils.translation import gettext as _

from django_runbook.exceptions import Refused

SUFFIX = ".age"
BUFFER = 256 * 1024
"""Bytes. Pyrage asks for 8 KiB at a time; each time that this needs the system costs a change of threads."""
PRIVATE = "AGE-SECRET-KEY-"
"""Begins a secret key."""
SSH = "ssh-"
"""Begins a public key of OpenSSH, which age takes, too."""


class Undecipherable(Exception):
    """No key opens it, or it is damaged; the text is pyrage's."""


def parse_recipients(keys: Sequence[str]) -> list[Any]:
    """Public keys, as pyrage wants them. Raise Refused for one that is none, or if pyrage is not there."""
    return [_parse_recipient(key) for key in keys]


def _parse_recipient(key: object) -> Any:
    age = pyrage()
    if not isinstance(key, str):
        raise _no_recipient(key, _("it is no text"))
    if key.startswith(PRIVATE):
        raise Refused(
            _("A secret key stands among the public keys."),
            _("Take it away, and change it: whoever has it reads every backup that is encrypted to it."),
        )
    try:
        return (age.ssh if key.startswith(SSH) else age.x25519).Recipient.from_str(key)
    except age.RecipientError as exc:
        raise _no_recipient(key, exc) from exc


def _no_recipient(key: object, why: object) -> Refused:
    return Refused(
        _("'%(key)s' is no public key of age: %(error)s.") % {"key": key, "error": why},
        _("Name keys that begin with age1, as `age-keygen` prints them, or with ssh-ed25519 or ssh-rsa."),
    )


def load_identities(path: Path) -> list[Any]:
    """The secret keys in a file as `age-keygen` writes it, or the one in a file of OpenSSH.

    Raise Refused if it cannot be read or holds none.
    """
    age = pyrage()
    try:
        content = path.read_bytes()
        lines = [line.strip() for line in content.decode().splitlines()]
        if lines and lines[0].startswith("-----BEGIN"):
            return [age.ssh.Identity.from_buffer(content)]
        keys = [age.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except (OSError, UnicodeDecodeError, age.IdentityError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else exc
        raise _no_identity(path, why) from exc
    if not keys:
        raise _no_identity(path, _("there is none"))
    return keys


def _no_identity(path: Path, why: object) -> Refused:
    return Refused(
        _("No secret key of age can be read from %(path)s: %(error)s.") % {"path": path, "error": why},
        _("Name the file that `age-keygen -o FILE` wrote, or a private key of OpenSSH without a passphrase."),
    )


def make_identity() -> Any:
    """A secret key of its own; `to_public()` is what encrypts to it."""
    return pyrage().x25519.Identity.generate()


@contextmanager
def encrypted(target: IO[bytes], recipients: Sequence[Any]) -> Iterator[IO[bytes]]:
    """Give a stream: what is written to it is in `target`, encrypted, after the block.

    Raise what `target` raises.
    """
    far, near = os.pipe()
    flow = Flow(pyrage().encrypt_io, os.fdopen(far, "rb", BUFFER), Watched(target), recipients)
    flow.start()
    stream = os.fdopen(near, "wb", BUFFER)
    try:
        yield stream
        stream.close()
    except BrokenPipeError:
        flow.join()
        if flow.error is None:
            raise
    finally:
        with suppress(BrokenPipeError):
            stream.close()
        flow.join()
    if flow.error:
        raise flow.error


@contextmanager
def decrypted(source: IO[bytes], identities: Sequence[Any]) -> Iterator[IO[bytes]]:
    """Give a stream to read what is in `source`. Raise Undecipherable from a read, also from the last one."""
    near, far = os.pipe()
    flow = Flow(pyrage().decrypt_io, Watched(source), os.fdopen(far, "wb", BUFFER), identities)
    flow.start()
    with os.fdopen(near, "rb", BUFFER) as pipe:
        try:
            yield cast("IO[bytes]", Deciphered(pipe, flow))
        finally:
            pipe.close()
            flow.join()


class Flow(Thread):
    """One call of pyrage's, from a stream to another. It closes its ends of pipes, and nothing else."""

    error: BaseException | None = None

    def __init__(self, call: Callable[..., None], source: Any, target: Any, keys: Sequence[Any]) -> None:
        super().__init__(daemon=True)
        self.call = call
        self.source = source
        self.target = target
        self.keys = list(keys)

    def run(self) -> None:
        try:
            self.call(self.source, self.target, self.keys)
        except BaseException as exc:
            self.error = self.cause() or exc
        for stream in (self.source, self.target):
            with suppress(BrokenPipeError):
                stream.close()

    def cause(self) -> BaseException | None:
        """What a stream raised, of which pyrage's own error has no more than the text."""
        return next((it.error for it in (self.source, self.target) if isinstance(it, Watched)), None)


class Watched:
    """A stream that remembers what it raised, and is not closed here."""

    error: BaseException | None = None

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream

    def read(self, size: int = -1) -> bytes:
        return cast("bytes", self._watch(self.stream.read, size))

    def write(self, content: bytes) -> int:
        return cast("int", self._watch(self.stream.write, content))

    def flush(self) -> None:
        self._watch(self.stream.flush)

    def close(self) -> None:
        pass

    def _watch(self, call: Callable[..., Any], *args: Any) -> Any:
        try:
            return call(*args)
        except BaseException as exc:
            self.error = exc
            raise


class Deciphered:
    """The near end of a pipe, whose end is no end if the far one has failed."""

    def __init__(self, pipe: IO[bytes], flow: Flow) -> None:
        self.pipe = pipe
        self.flow = flow

    def read(self, size: int = -1) -> bytes:
        content = self.pipe.read(size)
        if len(content) < size or size < 0:
            self.flow.join()
            if self.flow.error:
                raise Undecipherable(str(self.flow.error)) from self.flow.error
        return content


def pyrage() -> ModuleType:
    """Raise Refused if it is not installed."""
    try:
        return importlib.import_module("pyrage")
    except ImportError as exc:
        raise Refused(
            _("Encrypted backups need pyrage, which is not installed."),
            _("Install it: `python -m pip install 'django-runbook[encryption]'`."),
        ) from exc
