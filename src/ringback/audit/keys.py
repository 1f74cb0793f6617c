"""The key that signs anchors. It stands in a file, not in the database: who can write the one need not have the other.

The file is PEM: the private key (Ed25519) that signs, and behind it, where the key was changed, the public keys of those
before it, whose signatures are still believed. Each host that anchors has the same file; who only verifies needs the
public keys.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)
_PURPOSE = b"ringback audit anchor 1\0"


class AuditKeyUnavailable(Exception):
    """Why there is no key to sign or to verify with, and what to do."""


@dataclass(frozen=True, slots=True)
class AuditKeys:
    private: Ed25519PrivateKey | None = field(default=None, repr=False)
    public: dict[str, Ed25519PublicKey] = field(default_factory=dict)  # by key id

    @property
    def id(self) -> str:
        """Of the key that signs."""
        return key_id(self._signing().public_key())

    def sign(self, environment: str, seq: int, hash_: bytes, at_us: int) -> bytes:
        """64 bytes. Raises AuditKeyUnavailable."""
        return self._signing().sign(_message(environment, seq, hash_, at_us))

    def is_signed(
        self, by: str, signature: bytes, environment: str, seq: int, hash_: bytes, at_us: int
    ) -> bool | None:
        """None: the key that is said to have signed is not known."""
        if by not in self.public:
            return None
        try:
            self.public[by].verify(signature, _message(environment, seq, hash_, at_us))
        except InvalidSignature:
            return False
        return True

    def _signing(self) -> Ed25519PrivateKey:
        if self.private is None:
            raise AuditKeyUnavailable("there are public keys only: nothing can be signed with them")
        return self.private


def key_id(key: Ed25519PublicKey) -> str:
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:32]


def public_pem(key: Ed25519PublicKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode()


def signing_keys(path: Path) -> AuditKeys:
    """Made where there is no file. Raises AuditKeyUnavailable."""
    try:
        if not path.exists():
            path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            _make(path)
    except OSError as error:
        raise AuditKeyUnavailable(f"the key file {path} cannot be made: {error}") from error
    keys = known_keys([path])
    keys._signing()  # a file of public keys alone signs nothing
    return keys


def known_keys(paths: Sequence[Path]) -> AuditKeys:
    """Of all these files; those that do not exist are left out. Raises AuditKeyUnavailable."""
    private: Ed25519PrivateKey | None = None
    public: dict[str, Ed25519PublicKey] = {}
    for path in paths:
        try:
            held = _read(path) if path.exists() else []
        except (OSError, ValueError) as error:
            raise AuditKeyUnavailable(f"the key file {path} cannot be read: {error}") from error
        for key in held:
            if isinstance(key, Ed25519PrivateKey):
                private, key = private or key, key.public_key()
            public[key_id(key)] = key
    return AuditKeys(private, public)


def _read(path: Path) -> list[Ed25519PrivateKey | Ed25519PublicKey]:
    """Raises OSError, ValueError."""
    found: list[Ed25519PrivateKey | Ed25519PublicKey] = []
    for block in _BLOCK.finditer(path.read_bytes()):
        key = (
            serialization.load_pem_private_key(block[0], password=None)
            if b"PRIVATE" in block[1]
            else serialization.load_pem_public_key(block[0])
        )
        if not isinstance(key, Ed25519PrivateKey | Ed25519PublicKey):
            raise ValueError("a key in it is not of the kind Ed25519")
        found.append(key)
    if not found:
        raise ValueError("it holds no key in PEM form")
    return found


def _make(path: Path) -> None:
    """Whole or not at all; of processes that do it at once one wins, and all read what it wrote."""
    form = serialization.PrivateFormat.PKCS8
    pem = Ed25519PrivateKey.generate().private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    made = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(made, path)
    except FileExistsError:
        pass
    finally:
        made.unlink()


def _message(environment: str, seq: int, hash_: bytes, at_us: int) -> bytes:
    return _PURPOSE + orjson.dumps([environment, seq, hash_.hex(), at_us])
