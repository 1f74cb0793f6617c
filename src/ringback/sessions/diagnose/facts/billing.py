"""What was asked of the billing engine, what it decided and what it charged, as its log tells."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ringback.sessions import billing_log
from ringback.sessions.diagnose.billing_reasons import Reasons
from ringback.sessions.story import Entry, Mend, Session

_ASKS = frozenset({"request", "start", "interim", "stop"})  # steps that begin a new exchange


@dataclass(frozen=True, slots=True)
class Asking:
    """One request to authorise, from its first line to the decision."""

    lines: tuple[Entry, ...]  # at least one
    call_id: str  # "" where the lines name none of the session's legs
    asker: str  # Participant.id of the node that asked; "" unknown
    request: Entry | None
    decision: Entry | None  # None: no answer is in the log
    allowed: bool
    reason: str  # id of a refusal's issue, OTHER where nobody knows it; "" where it was allowed
    fields: Mapping[str, str]  # of all its lines, the last that gives one counts

    def line(self, *steps: str) -> Entry | None:
        """The last line of the first of these steps that there is."""
        for step in steps:
            for entry in reversed(self.lines):
                if entry.log and billing_log.step_of(entry.log) == step:
                    return entry
        return None

    @property
    def mend(self) -> tuple[Mend, ...]:
        """The entity that refused, where the log names it."""
        kind, id_ = self.fields.get("link_type", ""), self.fields.get("link_id", "")
        return (Mend(kind, int(id_)),) if kind and id_.isascii() and id_.isdecimal() and len(id_) < 16 else ()


@dataclass(frozen=True, slots=True)
class Billing:
    """Of one session."""

    askings: tuple[Asking, ...]  # in order of their decision
    charged: tuple[Entry, ...]  # lines of xDRs; where our engine says that it made none, there is none
    told: tuple[Entry, ...]  # what nodes told of a session's beginning, course and end

    def __bool__(self) -> bool:
        return bool(self.askings or self.charged or self.told)


def billing_of(session: Session, reasons: Reasons) -> Billing:
    legs = frozenset(session.call_ids)
    open_: dict[tuple[str, str], list[Entry]] = {}
    askings: list[Asking] = []
    charged: list[Entry] = []
    told: list[Entry] = []
    for entry in session.entries:
        if entry.log is None or entry.kind != billing_log.KIND:
            continue
        step = billing_log.step_of(entry.log)
        key = (entry.log.call_id or entry.log.fields.get("conf_id", ""), entry.log.node)
        if step in _ASKS and key in open_:
            askings.append(_asking(open_.pop(key), legs, reasons))
        if step == "xdr":
            charged += [entry] if billing_log.makes_xdr(entry.log) else []
        elif step in _ASKS - {"request"}:
            told.append(entry)
        else:
            open_.setdefault(key, []).append(entry)
            if step == "decision":
                askings.append(_asking(open_.pop(key), legs, reasons))
    askings += [_asking(one, legs, reasons) for one in open_.values()]
    return Billing(tuple(askings), tuple(charged), tuple(told))


def _asking(lines: Sequence[Entry], legs: Collection[str], reasons: Reasons) -> Asking:
    fields: dict[str, str] = {}
    for entry in lines:
        fields |= {name: value for name, value in (entry.log.fields if entry.log else {}).items() if value}
    last = lines[-1]
    decision = last if last.log and billing_log.step_of(last.log) == "decision" else None
    result = billing_log.result_of(decision.log) if decision and decision.log else ""
    request = next((one for one in lines if one.log and billing_log.step_of(one.log) == "request"), None)
    call_id = lines[0].log.call_id if lines[0].log else ""
    asker = request.source if request and request.destination else decision.destination if decision else ""
    return Asking(
        lines=tuple(lines),
        call_id=call_id if call_id in legs else "",
        asker=asker,
        request=request,
        decision=decision,
        allowed=result == "allowed",
        reason=reasons.of(decision.log.fields) if result == "refused" and decision and decision.log else "",
        fields=fields,
    )
