"""Attempts: one request as its sender made it, with its way through the nodes.

The story has a transaction per hop. What a person calls "the call was refused" is one request on many hops, and the
final response is passed back over each of them. An attempt joins them, and finds where the final came into being.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ringback.sessions.story import Arrow, Session, Transaction

CHALLENGES = frozenset({401, 407})
REMAPPED_WITHIN_US = 1_000_000  # a node that answers this soon after a refusal from further on answers because of it


@dataclass(frozen=True, slots=True)
class Attempt:
    """All transactions of one leg with one method, CSeq number and dialog, in order of time."""

    leg: str  # Call-ID
    method: str
    cseq: int
    from_tag: str
    hops: tuple[Transaction, ...]  # the sender's own first
    began_us: int
    in_dialog: bool
    cancels: tuple[Transaction, ...] = field(default=())

    @property
    def roots(self) -> list[Transaction]:
        """What the sender itself sent: more than one when it tried another server after the first."""
        first = self.hops[0]
        return [hop for hop in self.hops if hop.parent is None and hop.source == first.source]

    @property
    def request(self) -> Arrow | None:
        """The request as its sender sent it; None when the capture holds only responses."""
        return next((hop.request for hop in self.roots if hop.request), None)

    @property
    def final(self) -> Arrow | None:
        """The final response as the sender got it: the 2xx where there is one, else the last."""
        finals = [hop.final for hop in self.roots if hop.final]
        return next((one for one in finals if one.sip.status < 300), finals[-1] if finals else None)

    @property
    def code(self) -> int:
        """Of `final`; 0 while there is none."""
        final = self.final
        return final.sip.status if final else 0

    @property
    def succeeded_anywhere(self) -> bool:
        """A 2xx on any hop: the request worked, whatever the capture holds of the other hops."""
        return any(final.sip.status < 300 for hop in self.hops for final in hop.finals)

    @property
    def provisional(self) -> list[Arrow]:
        """101-199 on any hop, in order of time."""
        found = [arrow for hop in self.hops for arrow in hop.provisional if arrow.sip.status > 100]
        return sorted(found, key=lambda arrow: arrow.time_us)

    @property
    def ringing(self) -> Arrow | None:
        """The first 180 or 183 that the sender (else anybody) got."""
        own = [arrow for hop in self.roots for arrow in hop.provisional if arrow.sip.status in (180, 183)]
        return next(iter(own), next((one for one in self.provisional if one.sip.status in (180, 183)), None))

    @property
    def ended_us(self) -> int:
        """When the last thing of it happened, an ACK apart."""
        return max(last_us(hop) for hop in self.hops)

    def children(self, hop: Transaction) -> list[Transaction]:
        return [one for one in self.hops if one.parent == hop.index]

    def passed_on_by(self, hop: Transaction) -> list[Transaction]:
        """The branches that the server of `hop` opened: linked ones, else later hops that leave from it."""
        linked = self.children(hop)
        return linked or [one for one in self.hops if one is not hop and one.source == hop.destination]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a final response came into being, and the hop on which it is first seen."""

    hop: Transaction
    arrow: Arrow


def began_us(hop: Transaction) -> int:
    """When its first message was seen."""
    firsts = [hop.request, *hop.provisional[:1], hop.final, *hop.acks[:1]]
    return min((arrow.time_us for arrow in firsts if arrow), default=0)


def last_us(hop: Transaction) -> int:
    """When its last message was seen, ACKs apart."""
    lasts = [*hop.requests[-1:], *hop.provisional[-1:], *hop.finals[-1:]]
    return max((arrow.time_us for arrow in lasts), default=0)


def attempts_of(session: Session) -> tuple[Attempt, ...]:
    """Every request of the session but ACK and CANCEL (a CANCEL is kept with what it cancels), in order of time."""
    groups: dict[tuple[str, str, int, str, str], list[Transaction]] = {}
    by_index = {hop.index: hop for hop in session.transactions}
    for hop in session.transactions:
        if hop.method not in ("ACK", "CANCEL"):
            key = hop.leg, hop.method, hop.cseq, _from_tag(hop), _peer_tag(hop, by_index)
            groups.setdefault(key, []).append(hop)
    attempts = []
    for (leg, method, cseq, tag, _), hops in groups.items():
        hops.sort(key=_began_and_index)
        hops.sort(key=lambda hop: hop.parent is not None)  # the sender's own hop first, whatever the clocks say
        ordered = [hops[0], *sorted(hops[1:], key=_began_and_index)]
        cancels = [by_index[hop.cancelled_by] for hop in ordered if hop.cancelled_by in by_index]
        in_dialog = any(hop.in_dialog for hop in ordered)
        attempts.append(
            Attempt(leg, method, cseq, tag, tuple(ordered), began_us(ordered[0]), in_dialog, tuple(cancels))
        )
    attempts.sort(key=lambda attempt: (attempt.began_us, attempt.hops[0].index))
    return tuple(attempts)


def _began_and_index(hop: Transaction) -> tuple[int, int]:
    return began_us(hop), hop.index


def _peer_tag(hop: Transaction, by_index: Mapping[int, Transaction]) -> str:
    """Of the dialog in which the request was sent: forks that all answered are hung up with one CSeq number each."""
    while hop.parent is not None:
        hop = by_index[hop.parent]
    return hop.request.sip.to_tag if hop.request else ""


def _from_tag(hop: Transaction) -> str:
    for arrow in (hop.request, hop.final, *hop.provisional[:1]):
        if arrow:
            return arrow.sip.from_tag
    return ""


def origin_of(attempt: Attempt) -> Origin | None:
    """Where the final response that the sender got came from; None while there is none.

    A passed-on response keeps its To tag (RFC 3261 section 16.7), so the earliest of that status and tag is the origin. A node
    that makes its own response of a refusal from further on (500 of a 503, section 16.7 step 6) is seen through: what it
    was told just before counts, not what it made of it.
    """
    final = attempt.final
    if final is None:
        return None
    seen = [(hop, one) for hop in attempt.hops for one in hop.finals[:1] if one.time_us <= final.time_us]
    seen.sort(key=lambda pair: (pair[1].time_us, pair[0].parent is None))
    alike = [(hop, one) for hop, one in seen if one.sip.status == final.sip.status]
    tag = final.sip.to_tag
    same = [(hop, one) for hop, one in alike if tag and one.sip.to_tag == tag]
    hop, arrow = (same or alike or [(attempt.hops[0], final)])[0]
    if final.sip.status >= 300 and not attempt.children(hop):
        return Origin(hop, arrow)
    if final.sip.status >= 300 and (cause := _remapped(attempt, hop, arrow)):
        return cause
    return Origin(hop, arrow)


def _remapped(attempt: Attempt, hop: Transaction, arrow: Arrow) -> Origin | None:
    """The refusal from further on that the server of `hop` turned into its own `arrow`."""
    branches = [one for one in attempt.passed_on_by(hop) if one.final and one.final.time_us <= arrow.time_us]
    if not branches or branches[-1] is not attempt.passed_on_by(hop)[-1]:
        return None
    last = max(branches, key=lambda one: one.final.time_us if one.final else 0)
    final = last.final
    if final is None or final.sip.status < 300 or final.sip.status in (*CHALLENGES, 487):
        return None
    if arrow.time_us - final.time_us > REMAPPED_WITHIN_US:
        return None
    return _deeper(attempt, Origin(last, final))


def _deeper(attempt: Attempt, origin: Origin) -> Origin:
    """Where the response of `origin` came from itself."""
    for hop in attempt.hops:
        final = hop.final
        if hop is origin.hop or final is None or final.time_us >= origin.arrow.time_us:
            continue
        tag = final.sip.to_tag
        if final.sip.status == origin.arrow.sip.status and tag and tag == origin.arrow.sip.to_tag:
            return Origin(hop, final)
    return origin


def silent_hop(attempt: Attempt) -> Transaction | None:
    """The last branch of the attempt, when it was sent and nothing at all came back on it."""
    leaves = [hop for hop in attempt.hops if not attempt.passed_on_by(hop)] or list(attempt.hops)
    last = max(leaves, key=_began_and_index)
    return last if last.requests and not last.provisional and not last.finals else None


def only_trying(attempt: Attempt) -> list[Transaction]:
    """Hops on which a 100 came and no other provisional response."""
    return [
        hop for hop in attempt.hops if hop.provisional and all(arrow.sip.status == 100 for arrow in hop.provisional)
    ]


def arrows_of(hops: Iterable[Transaction]) -> list[Arrow]:
    """All messages of the transactions but ACKs, in order of time."""
    found = [arrow for hop in hops for arrow in (*hop.requests, *hop.provisional, *hop.finals)]
    return sorted(found, key=lambda arrow: arrow.time_us)
