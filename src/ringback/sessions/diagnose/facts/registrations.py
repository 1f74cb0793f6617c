"""What a registration's requests and answers say of bindings over time (RFC 3261 section 10)."""

from __future__ import annotations

from dataclasses import dataclass

from ringback.sessions.capture.address import Address
from ringback.sessions.diagnose.facts.legs import LegFacts
from ringback.sessions.story import Arrow

DEFAULT_EXPIRES_S = 3600  # where nobody says (RFC 3261 section 10.2.1.1)


@dataclass(frozen=True, slots=True)
class Binding:
    """One REGISTER that the registrar accepted."""

    arrow: Arrow  # the request
    answer: Arrow  # the 200
    contact: str  # host:port asked for, "" for a query and for "*"
    device: str  # what tells devices apart: instance id, else User-Agent, else the contact's host
    removed: bool
    listed: tuple[str, ...]  # host:port of every contact in the answer
    expires_s: int  # granted


def bindings_of(leg: LegFacts) -> tuple[Binding, ...]:
    """In order of time, whoever sent them."""
    return tuple(
        _binding(attempt.request, attempt.final)
        for attempt in leg.attempts
        if attempt.method == "REGISTER" and attempt.request and attempt.final and attempt.code < 300
    )


def _binding(request: Arrow, answer: Arrow) -> Binding:
    contacts = request.sip.addresses("contact")
    first = contacts[0] if contacts else None
    listed = answer.sip.addresses("contact")
    asked = _expires(first, request.sip.header("expires"))
    granted = next(
        (_expires(one, answer.sip.header("expires")) for one in listed if first and _same(one, first)), asked
    )
    return Binding(
        arrow=request,
        answer=answer,
        contact=socket_of(first) if first else "",
        device=_device(first, request),
        removed=asked == 0 or request.sip.header("contact").strip() == "*",
        listed=tuple(socket_of(one) for one in listed),
        expires_s=granted,
    )


def socket_of(address: Address) -> str:
    host = f"[{address.uri.host}]" if ":" in address.uri.host else address.uri.host
    return f"{host}:{address.uri.port or 5060}"


def _same(one: Address, other: Address) -> bool:
    return socket_of(one) == socket_of(other)


def _expires(contact: Address | None, header: str) -> int:
    for value in (contact.parameters.get("expires", "") if contact else "", header):
        if value.isascii() and value.isdigit() and len(value) <= 10:
            return int(value)
    return DEFAULT_EXPIRES_S


def _device(contact: Address | None, request: Arrow) -> str:
    instance = contact.parameters.get("+sip.instance", "") if contact else ""
    if instance:
        return instance
    return request.sip.header("user-agent") or (contact.uri.host if contact else request.hop.source)
