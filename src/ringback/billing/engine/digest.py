"""Digest access authentication as SIP phones do it (RFC 7616, RFC 3261 §22, RFC 8760): is the answer right?

Nonces are the asking node's: it made them and knows whether they are fresh.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass

_PART = re.compile(r'\s*([A-Za-z0-9_-]{1,32})\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,"]+)\s*(?:,|$)')
_ESCAPED = re.compile(r"\\(.)")
_HASHES: dict[str, Callable[[bytes], str]] = {
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
    "SHA-512-256": lambda data: hashlib.new("sha512_256", data).hexdigest(),
}
ALGORITHMS = tuple(_HASHES)


class BadDigest(ValueError):
    """What was sent is no answer to a digest challenge that can be checked; the text says why."""


@dataclass(frozen=True, slots=True)
class DigestAnswer:
    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: str = "MD5"  # with or without -sess
    qop: str = ""  # "", auth
    cnonce: str = ""
    nc: str = ""


def read_digest(header: str) -> DigestAnswer:
    """Of the value of Authorization or Proxy-Authorization. Raises BadDigest."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() != "digest":
        raise BadDigest(f"The credentials are {scheme[:20] or 'empty'}, not Digest.")
    parts: dict[str, str] = {}
    at = 0
    while at < len(rest) and rest[at:].strip():
        found = _PART.match(rest, at)
        if found is None:
            raise BadDigest("The Digest credentials cannot be read.")
        name, value = found[1].lower(), found[2]
        if name in parts:
            raise BadDigest(f"The Digest credentials name {name} twice.")
        parts[name] = _ESCAPED.sub(r"\1", value[1:-1]) if value.startswith('"') else value
        at = found.end()
    return digest_answer(parts)


def digest_answer(parts: dict[str, str]) -> DigestAnswer:
    """Of named parts in lower case. Raises BadDigest."""
    missing = [name for name in ("username", "realm", "nonce", "uri", "response") if name not in parts]
    if missing:
        raise BadDigest(f"The Digest credentials have no {' and no '.join(missing)}.")
    algorithm, qop = parts.get("algorithm", "MD5").upper(), parts.get("qop", "").lower()
    if algorithm.removesuffix("-SESS") not in _HASHES:
        raise BadDigest(f"The Digest algorithm {algorithm[:20]} is none of {', '.join(ALGORITHMS)}.")
    if qop not in ("", "auth"):
        raise BadDigest(f"The Digest protection {qop[:20]} is not known: auth is.")
    if (qop or algorithm.endswith("-SESS")) and not (parts.get("cnonce") and parts.get("nc")):
        raise BadDigest("The Digest credentials have no cnonce and nc.")
    return DigestAnswer(
        parts["username"], parts["realm"], parts["nonce"], parts["uri"], parts["response"].lower(),
        algorithm, qop, parts.get("cnonce", ""), parts.get("nc", ""),
    )  # fmt: skip


def is_right(answer: DigestAnswer, method: str, password: str) -> bool:
    """Whether who made it knows the password. `method`: of the SIP request."""
    hash_ = _HASHES[answer.algorithm.removesuffix("-SESS")]

    def digest(*parts: str) -> str:
        return hash_(":".join(parts).encode())

    first = digest(answer.username, answer.realm, password)
    if answer.algorithm.endswith("-SESS"):
        first = digest(first, answer.nonce, answer.cnonce)
    second = digest(method, answer.uri)
    if answer.qop:
        expected = digest(first, answer.nonce, answer.nc, answer.cnonce, answer.qop, second)
    else:
        expected = digest(first, answer.nonce, second)
    return same(expected, answer.response)


def same(one: str, other: str) -> bool:
    """In a time that tells nothing of where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())
