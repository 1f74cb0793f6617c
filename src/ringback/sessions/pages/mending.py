"""From an issue to the pages where it is mended: the entity that refused, and the audit records that say who made it so.
And from a session to what was charged for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from ringback import clock
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.pages_values import in_sentence
from ringback.sessions import billing_log
from ringback.sessions.schemas import OpenedSession
from ringback.sessions.story import Issue, Session

DAY_US = 86_400_000_000
LOOKED_BACK_US = 400 * DAY_US  # before the session

# Issue -> the property of the entity that the log links to, whose last change led to it. By entity type.
_CHANGED: dict[str, dict[str, str]] = {
    "account-blocked": {"account": "blocked"},
    "account-suspended": {"account": "status"},
    "account-closed": {"account": "status"},
    "account-expired": {"account": "expiration_date"},
    "account-not-active-yet": {"account": "activation_date"},
    "customer-blocked": {"customer": "blocked"},
    "customer-suspended": {"customer": "bill_status"},
    "customer-limited": {"customer": "limited", "account": "status"},
    "destination-forbidden": {"rate": "forbidden"},
    "credit-limit-reached": {"customer": "credit_limit", "account": "credit_limit"},
    "node-unknown": {"node": "active"},
}


@dataclass(frozen=True, slots=True)
class Link:
    text: str
    href: str


def links(issue: Issue, session: Session, reader: Principal | None) -> list[Link]:
    """Only where the reader may go; none for who holds a share link (None)."""
    found: list[Link] = []
    for one in issue.mend if reader else ():
        entity = TYPES.get(one.type)
        if entity is None or reader is None:
            continue
        if reader.may(entity.read):
            found.append(Link(f"Open the {in_sentence(entity.about.label)}", f"/{entity.about.path}/{one.id}"))
        changed = _CHANGED.get(issue.id, {}).get(one.type)
        if changed and reader.may(Permission.AUDIT_READ):
            text = f"Earlier changes of “{entity[changed].label}”"
            found.append(Link(text, _audit_url(one.type, one.id, changed, session.ended_us)))
    return found


@dataclass(frozen=True, slots=True)
class Charges:
    """What our own engine charged for a session, as its billing log names it."""

    calls: tuple[Link, ...] = ()  # one for each Call-ID that was charged
    lines: Mapping[int, Link] = field(default_factory=dict)  # number of a line -> its xDR


def charges(opened: OpenedSession, reader: Principal | None) -> Charges:
    """Nothing for who may not open it, on a masked page, or by a share link (None)."""
    if reader is None or opened.masked or not reader.may(Permission.CUSTOMERS_READ):
        return Charges()
    lines: dict[int, Link] = {}
    calls: dict[str, str] = {}
    for entry in opened.session.entries:
        line = entry.log
        if line is None or entry.kind != billing_log.KIND or line.fields.get("engine") != billing_log.OWN_ENGINE:
            continue
        xdr = line.fields.get("xdr", "")
        if billing_log.step_of(line) == "xdr" and xdr.isascii() and xdr.isdecimal():
            lines[entry.number] = Link(f"xDR {xdr}", f"/xdrs/{xdr}")
            if line.call_id:
                calls[line.call_id] = f"/xdrs?{urlencode({'call_id': line.call_id})}"
    texts = ("What was charged", *(f"What was charged ({place})" for place in range(2, len(calls) + 1)))
    return Charges(tuple(map(Link, texts, calls.values())), lines)


def _audit_url(kind: str, id_: int, changed: str, until_us: int) -> str:
    """The changes up to the session, the last on top."""
    interval = {"from": clock.isoformat(max(0, until_us - LOOKED_BACK_US)), "to": clock.isoformat(until_us)}
    return f"/audit?{urlencode({**interval, 'type': kind, 'property': changed, 'id': str(id_)})}"
