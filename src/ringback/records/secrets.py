"""Secrets at rest: sealed with a key that is kept beside the database, never in it.

AES-256-GCM with a random nonce, bound to the column it stands in, so that a sealed value moved to another column does
not open. The key file holds one key a line, base64 of 32 bytes; the first seals, all open: a new first line rotates.
"""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Dialect, Text
from sqlalchemy.types import TypeDecorator

_FORM = "s1"
_KEY_BYTES, _NONCE_BYTES = 32, 12


class SecretsUnavailable(Exception):
    """A secret cannot be sealed or opened: which key file, and what to do."""


class KeyRing:
    """The keys of one process. `use` is called once by each door (server, command) before the records are used."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._keys: list[AESGCM] = []

    def use(self, path: Path) -> None:
        """Read when first needed; made then where there is none."""
        self._path, self._keys = path, []

    def keys(self) -> list[AESGCM]:
        if not self._keys:
            if self._path is None:
                raise SecretsUnavailable("no key file was named: this is a mistake of the program that runs")
            self._keys = [AESGCM(key) for key in _read_or_make(self._path)]
        return self._keys

    def keys_read_again(self) -> list[AESGCM]:
        """For a value that no known key opens: another host or person may have added one."""
        self._keys = []
        return self.keys()


ring = KeyRing()


def seal(text: str, what: str) -> str:
    """`what`: where it stands ("accounts.service_password"); `unseal` must be told the same."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = ring.keys()[0].encrypt(nonce, text.encode(), what.encode())
    return f"{_FORM}:{base64.b64encode(nonce + sealed).decode()}"


def unseal(sealed: str, what: str) -> str:
    """Raises SecretsUnavailable."""
    form, _, packed = sealed.partition(":")
    data = base64.b64decode(packed)
    if form != _FORM:
        raise SecretsUnavailable(f"{what}: sealed in a form that this version does not know")
    for keys in (ring.keys, ring.keys_read_again):
        for key in keys():
            try:
                return key.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], what.encode()).decode()
            except InvalidTag:
                continue
    raise SecretsUnavailable(
        f"{what}: no key opens it. Every host of an installation needs the same key file (RINGBACK_SECRETS_KEY)."
    )


class Sealed(TypeDecorator[str]):
    """A text column whose values are sealed in the database and clear in code. `what` is "table.column"."""

    impl = Text
    cache_ok = True

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else seal(value, self.what)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else unseal(value, self.what)


def _read_or_make(path: Path) -> list[bytes]:
    try:
        if not path.exists():
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            _make(path)
        keys = [base64.b64decode(line, validate=True) for line in path.read_text().split()]
    except (OSError, ValueError) as error:
        raise SecretsUnavailable(f"the key file {path} cannot be read: {error}") from error
    if not keys or any(len(key) != _KEY_BYTES for key in keys):
        raise SecretsUnavailable(f"the key file {path} holds no keys of {_KEY_BYTES} bytes in base64, one a line")
    return keys


def _make(path: Path) -> None:
    """Whole or not at all; of processes that do it at once one wins, and all read what it wrote."""
    made = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode() + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(made, path)
    except FileExistsError:
        pass
    finally:
        made.unlink()
