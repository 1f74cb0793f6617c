"""A whole session masked: every text and every byte of it, but for the fields that are listed here as nobody's.

A field that is added to the vocabulary of sessions is masked as words until it is listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from ringback.billing.entities.whose import Whose
from ringback.sessions.billing_log import KIND
from ringback.sessions.capture.sip import NotSip, SipMessage, parse
from ringback.sessions.keys import DEFAULT_RULES, KeyRules
from ringback.sessions.masking.message import masked_message
from ringback.sessions.masking.terms import customers_in
from ringback.sessions.masking.veil import Veil
from ringback.sessions.schemas import IssueBrief, OpenedSession, SessionRow
from ringback.sessions.story import (
    Arrow,
    Entry,
    Hop,
    Issue,
    Leg,
    Link,
    LogLine,
    Mend,
    NodeInfo,
    Participant,
    Session,
    Sighting,
    Step,
    StreamReport,
    Transaction,
)
from ringback.sessions.timeline import message_words

_NOBODYS: dict[type, frozenset[str]] = {
    OpenedSession: frozenset({"id", "masked"}),
    Session: frozenset({"kind", "outcome", "environment"}),
    Leg: frozenset({"kind", "outcome"}),
    Hop: frozenset({"transport", "agent"}),
    Participant: frozenset({"kind", "colour", "agents"}),
    Entry: frozenset({"kind"}),
    LogLine: frozenset({"kind", "level"}),
    StreamReport: frozenset({"codec"}),
    Issue: frozenset({"id", "severity"}),
    Step: frozenset({"role"}),
    Mend: frozenset({"type"}),
    Whose: frozenset({"known_as"}),
    IssueBrief: frozenset({"id", "severity"}),
    SessionRow: frozenset({"id", "environment", "kind", "outcome", "matched", "masked"}),
}
_How = Callable[[Veil, str], str]
_AS: dict[tuple[type, str], _How] = {
    (Session, "caller"): Veil.user,
    (Session, "called"): Veil.user,
    (Session, "media_hosts"): Veil.host,
    (Leg, "caller"): Veil.user,
    (Leg, "called"): Veil.user,
    (Leg, "call_id"): Veil.token,
    (Link, "from_call_id"): Veil.token,
    (Link, "to_call_id"): Veil.token,
    (Hop, "source"): Veil.host,
    (Hop, "destination"): Veil.host,
    (Sighting, "correlation"): Veil.token,
    (Arrow, "leg"): Veil.token,
    (Arrow, "source"): Veil.place,
    (Arrow, "destination"): Veil.place,
    (Transaction, "leg"): Veil.token,
    (Transaction, "method"): Veil.token,
    (Transaction, "branch"): Veil.token,
    (Transaction, "source"): Veil.place,
    (Transaction, "destination"): Veil.place,
    (Participant, "id"): Veil.place,
    (Participant, "label"): Veil.place,
    (Participant, "addresses"): Veil.place,
    (Participant, "user_agent"): Veil.software,
    (Entry, "node"): Veil.place,
    (Entry, "source"): Veil.place,
    (Entry, "destination"): Veil.place,
    (LogLine, "node"): Veil.place,
    (LogLine, "call_id"): Veil.token,
    (LogLine, "text"): Veil.log,
    (Whose, "name"): Veil.user,
    (Whose, "account"): Veil.user,
    (Whose, "customer"): Veil.name,
    (StreamReport, "source"): Veil.place,
    (StreamReport, "destination"): Veil.place,
    (StreamReport, "leg"): Veil.token,
    (SessionRow, "caller"): Veil.user,
    (SessionRow, "called"): Veil.user,
    (SessionRow, "call_ids"): Veil.token,
    (SessionRow, "nodes"): Veil.place,
}


def masked_session(
    opened: OpenedSession, nodes: Iterable[NodeInfo], rules: KeyRules = DEFAULT_RULES
) -> OpenedSession:
    """The same session: its outcome, order, numbers and issues are those of the clear one."""
    veil = Veil(nodes)
    walk = _Walk(veil, frozenset(rules.leg_headers) | rules.conf_headers)
    _learn(opened, veil, walk)
    veil.seal()
    walk.begin()
    return replace(_as_session(walk.masked(opened)), masked=True)


def masked_row(row: SessionRow, nodes: Sequence[NodeInfo]) -> SessionRow:
    """A line of a result list. What it says of numbers and names is what the session's page says of them, but for
    letters that tell alike ones apart there."""
    veil = Veil(nodes)
    for identity in (row.caller, row.called, *row.identities):
        veil.user(identity)
    if row.final_code:
        veil.code(row.final_code)
    for call_id in row.call_ids:
        veil.token(call_id)
    veil.seal()
    shown: SessionRow = _Walk(veil, frozenset()).masked(replace(row, identities=()))
    return replace(shown, masked=True)


def _learn(opened: OpenedSession, veil: Veil, walk: _Walk) -> None:
    """In the order of the story, so that stand-ins are the same whenever the session is opened."""
    session = opened.session
    for who in (session.caller, session.called, *(one for leg in session.legs for one in (leg.caller, leg.called))):
        veil.user(who)
    for participant in session.participants:
        for address in participant.addresses:
            veil.place(address)
        if participant.user_agent:
            veil.keep(participant.user_agent, veil.software)
    for arrow in session.arrows:
        if arrow.sip.status:
            veil.code(arrow.sip.status)
        for sighting in arrow.sightings:
            walk.message(sighting.payload)
            veil.host(sighting.hop.source)
            veil.host(sighting.hop.destination)
    for stream in session.media:
        veil.place(stream.source)
        veil.place(stream.destination)
    for one in opened.whose:
        veil.user(one.account)
        veil.name(one.customer)
    for entry in session.entries:
        if entry.log:
            if entry.kind == KIND:
                for name in customers_in(entry.log.text):
                    veil.name(name)
            veil.log(entry.log.text)
            for name, value in entry.log.fields.items():
                veil.field(name, value)
    for call_id in session.call_ids:
        veil.keep(call_id, veil.token)
    for name in (*veil.node_names, *(one.label for one in session.participants if one.label in veil.node_names)):
        veil.keep(name, lambda text: text)


def _as_session(value: object) -> OpenedSession:
    if not isinstance(value, OpenedSession):
        raise TypeError(type(value))
    return value


class _Walk:
    """Through the objects of a session: each is masked once, and stays one object where it was one."""

    def __init__(self, veil: Veil, token_headers: frozenset[str]) -> None:
        self._veil = veil
        self._token_headers = token_headers
        self._done: dict[int, tuple[object, Any]] = {}  # id -> (the object, kept alive; its masked one)
        self._messages: dict[bytes, bytes] = {}

    def begin(self) -> None:
        self._messages.clear()

    def message(self, payload: bytes) -> bytes:
        known = self._messages.get(payload)
        if known is None:
            known = self._messages[payload] = masked_message(self._veil, payload, self._token_headers)
        return known

    def masked(self, value: Any, how: _How = Veil.text) -> Any:
        match value:
            case str():
                return how(self._veil, value)
            case bytes():
                return self.message(value)
            case None | bool() | int() | float():
                return value
        known = self._done.get(id(value))
        if known is None:
            known = self._done[id(value)] = (value, self._object(value, how))
        return known[1]

    def _object(self, value: Any, how: _How) -> Any:
        match value:
            case Sighting():
                return Sighting(*(self._field(Sighting, name, one) for name, one in value._asdict().items()))
            case list() | tuple() | frozenset() | set():
                return type(value)(self.masked(one, how) for one in value)
            case Mapping():
                return {self.masked(name, how): self.masked(one, how) for name, one in value.items()}
            case LogLine():
                told = {name: self._veil.field(name, one) for name, one in value.fields.items()}
                return replace(self._dataclass(value, leave={"fields"}), fields=told)
            case Arrow():
                return self._arrow(value)
            case Entry():
                return self._entry(value)
            case _ if is_dataclass(value):
                return self._dataclass(value)
        raise TypeError(f"{type(value).__name__} in a session: how is it masked?")

    def _dataclass(self, value: Any, leave: Iterable[str] = ()) -> Any:
        kind = type(value)
        names = [one.name for one in fields(value) if one.name not in leave]
        return replace(value, **{name: self._field(kind, name, getattr(value, name)) for name in names})

    def _field(self, kind: type, name: str, value: Any) -> Any:
        if name in _NOBODYS.get(kind, ()):
            return value
        return self.masked(value, _AS.get((kind, name), Veil.text))

    def _arrow(self, arrow: Arrow) -> Arrow:
        payload = self.message(arrow.payload)
        try:
            sip = parse(payload)
        except NotSip:
            sip = SipMessage(
                arrow.sip.is_request, self._veil.token(arrow.sip.method), "", arrow.sip.status, "", (), b"", None,
                arrow.sip.truncated, self._veil.token(arrow.sip.call_id), arrow.sip.cseq,
            )  # fmt: skip
        masked: Arrow = replace(self._dataclass(arrow, leave={"sip", "payload"}), sip=sip, payload=payload)
        return masked

    def _entry(self, entry: Entry) -> Entry:
        """Told anew of what it tells of."""
        masked: Entry = self._dataclass(entry, leave={"text"})
        if masked.arrow:
            return replace(masked, text=message_words(masked.arrow))
        return replace(masked, text=masked.log.text if masked.log else self._veil.text(entry.text))
