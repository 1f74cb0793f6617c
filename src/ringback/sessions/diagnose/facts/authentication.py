"""Digest authentication as the messages show it (RFC 3261 section 22, RFC 7616): challenges, credentials, and who asked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ringback.sessions.diagnose.facts.attempts import Attempt, Origin, origin_of
from ringback.sessions.story import Arrow

_PARAMETER = re.compile(r'([A-Za-z][\w-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^,\s]+))')
_HEADERS = {
    "www-authenticate": "authorization",
    "proxy-authenticate": "proxy-authorization",
}


@dataclass(frozen=True, slots=True)
class Challenge:
    header: str  # of the credentials it asks for: "authorization" or "proxy-authorization"
    realm: str
    nonce: str
    stale: bool


@dataclass(frozen=True, slots=True)
class Credentials:
    header: str
    realm: str
    nonce: str
    username: str


@dataclass(frozen=True, slots=True)
class Try:
    """One request of a leg with the credentials it carried, and how it was answered."""

    attempt: Attempt
    credentials: tuple[Credentials, ...]
    challenges: tuple[Challenge, ...]  # of a 401 or 407 final; empty otherwise
    origin: Origin | None  # of the final response

    def answer_to(self, challenge: Challenge) -> Credentials | None:
        """The credentials in the request for what the response asks for again."""
        for one in self.credentials:
            if (one.header, one.realm) == (challenge.header, challenge.realm):
                return one
        return None


def tries_of(attempts: Iterable[Attempt]) -> tuple[Try, ...]:
    return tuple(_try(attempt) for attempt in attempts)


def _try(attempt: Attempt) -> Try:
    origin = origin_of(attempt)
    challenged = origin is not None and origin.arrow.sip.status in (401, 407)
    return Try(
        attempt,
        credentials_of(attempt.request) if attempt.request else (),
        challenges_of(origin.arrow) if origin and challenged else (),
        origin,
    )


def challenges_of(arrow: Arrow) -> tuple[Challenge, ...]:
    found = []
    for name, value in arrow.sip.headers:
        if name in _HEADERS:
            parameters = _parameters(value)
            found.append(
                Challenge(
                    _HEADERS[name],
                    parameters.get("realm", ""),
                    parameters.get("nonce", ""),
                    parameters.get("stale", "").lower() == "true",
                )
            )
    return tuple(found)


def credentials_of(arrow: Arrow) -> tuple[Credentials, ...]:
    """Only those with a nonce: some phones send an empty Authorization with their first REGISTER."""
    found = []
    for name, value in arrow.sip.headers:
        if name in _HEADERS.values():
            parameters = _parameters(value)
            if parameters.get("nonce"):
                found.append(
                    Credentials(
                        name, parameters.get("realm", ""), parameters["nonce"], parameters.get("username", "")
                    )
                )
    return tuple(found)


def _parameters(value: str) -> dict[str, str]:
    return {name.lower(): quoted or token for name, quoted, token in _PARAMETER.findall(value)}
