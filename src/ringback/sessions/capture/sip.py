"""SIP on the wire: the whole parse of one message, and the quick scan that ingest lives on.

Sources: RFC 3261 sections 7 and 25; RFC 3261 7.3.3 and later registrations for compact names.
"""

from __future__ import annotations

from dataclasses import dataclass


class NotSip(ValueError):
    """The bytes are no SIP message; the text says what was found instead."""


@dataclass(frozen=True, slots=True)
class Via:
    transport: str  # upper case: UDP TCP TLS WS WSS SCTP
    host: str
    port: int | None
    branch: str  # "" when absent
    received: str  # "" when absent
    rport: int | None


@dataclass(frozen=True, slots=True)
class SipUri:
    scheme: str  # sip sips tel urn ...
    user: str  # decoded, without parameters; "" when absent
    host: str  # IPv6 without brackets; "" for tel
    port: int | None
    parameters: dict[str, str]
    text: str  # as written


@dataclass(frozen=True, slots=True)
class Address:
    """A name-addr or addr-spec header value: From, To, Contact, P-Asserted-Identity, ..."""

    display: str
    uri: SipUri
    parameters: dict[str, str]

    @property
    def tag(self) -> str:
        return self.parameters.get("tag", "")


@dataclass(frozen=True, slots=True)
class SipMessage:
    """One parsed message. Header names are canonical long forms in lower case ("call-id"), values unfolded text."""

    is_request: bool
    method: str  # of the request, or of the CSeq of a response
    request_uri: str  # "" for a response
    status: int  # 0 for a request
    phrase: str
    headers: tuple[tuple[str, str], ...]  # in order; a multi-value line stays one pair
    body: bytes
    content_length: int | None  # as declared
    truncated: bool  # the body is shorter than Content-Length says, or the head has no end
    call_id: str
    cseq: int  # -1 when absent or broken

    def header(self, name: str) -> str:
        """First value of `name` (canonical lower case), "" when absent."""
        raise NotImplementedError

    def values(self, name: str) -> list[str]:
        """All values of `name`, comma-separated ones split (not inside quotes or angle brackets)."""
        raise NotImplementedError

    def addresses(self, name: str) -> list[Address]:
        """The values of an address header that could be read; broken ones are left out."""
        raise NotImplementedError

    @property
    def vias(self) -> list[Via]:
        raise NotImplementedError

    @property
    def top_via(self) -> Via | None:
        raise NotImplementedError

    @property
    def from_tag(self) -> str:
        raise NotImplementedError

    @property
    def to_tag(self) -> str:
        raise NotImplementedError


def parse(payload: bytes) -> SipMessage:
    """The whole message, tolerant of what real senders do. Raises NotSip."""
    raise NotImplementedError


def parse_uri(text: str) -> SipUri:
    """Raises ValueError."""
    raise NotImplementedError


def scan(payload: bytes) -> tuple[bytes, bytes, int] | None:
    """(Call-ID, first line, CSeq number) as fast as Python can, or None when this is no SIP message.

    Knows `i:` and odd spacing; reads nothing else.
    """
    raise NotImplementedError
