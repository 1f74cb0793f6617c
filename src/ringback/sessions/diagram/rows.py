"""What every diagram shows: the entries of a session as rows, retransmissions folded, the failing and telling ones marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ringback.sessions.billing_log import KIND, result_of, short_words, step_words
from ringback.sessions.diagram.words import cells, cut, printable, wrapped
from ringback.sessions.story import Arrow, Entry, Issue, Participant, Session
from ringback.sessions.timeline import message_words

CHALLENGES = frozenset({401, 407})
_FAILED = frozenset({"failed", "rejected", "busy", "no_answer"})


@dataclass(slots=True)
class Row:
    entry: Entry
    words: str  # what was sent or written, whole; unescaped wire text
    arrow: Arrow | None = None
    sent: int = 1  # how often, retransmissions included
    over_us: int = 0  # from the first to the last of them
    evidence: bool = False  # an issue rests on it
    failing: bool = False  # what the session failed at
    unheard: bool = False  # a request that got no response at all
    time: str = ""  # `+0.041`: seconds since the session began

    @property
    def number(self) -> int:
        return self.entry.number

    @property
    def ends(self) -> tuple[str, str] | None:
        """Who said it to whom (`Participant.id`), of a message and of what a node and the billing engine say to each other;
        None for what somebody wrote down."""
        if self.arrow:
            return self.arrow.source, self.arrow.destination
        return (self.entry.source, self.entry.destination) if self.entry.destination else None

    @property
    def refused(self) -> bool:
        """The billing engine said no."""
        log = self.entry.log
        return log is not None and self.entry.kind == KIND and result_of(log) == "refused"

    @property
    def labels(self) -> list[str]:
        """Ways to write what was sent on an arrow, each shorter than the one before. A Request-URI is left out where the
        dialog says as much."""
        if self.arrow is None:
            log = self.entry.log if self.entry.kind == KIND else None
            short = (short_words if self.ends else step_words)(log) if log else ""
            return [self.words, short] if short else [self.words]
        sip = self.arrow.sip
        if not sip.is_request:
            return [self.words, f"{sip.status} {sip.phrase}"] if sip.method == "INVITE" else [self.words]
        if sip.to_tag:
            return ["re-INVITE" if sip.method == "INVITE" else sip.method]
        if sip.method in ("ACK", "CANCEL"):
            return [sip.method]
        bare = sip.request_uri.removeprefix("sip:")
        return [self.words, f"{sip.method} {bare}", f"{sip.method} {bare.partition('@')[0]}"]

    def label(self, room: int, ending: str = "…") -> str:
        """The longest way to write it that takes at most `room` cells, cut where even the shortest takes more; harmless.
        How often it was sent is the last thing to be cut off."""
        repeats = f" {self.repeats}" if self.repeats else ""
        left = max(8, room - cells(repeats))
        ways = [printable(label) for label in self.labels]
        words = next((way for way in ways if cells(way) <= left), ways[-1])
        return cut(cut(words, left, ending) + repeats, room, ending)

    def lines(self, room: int, most: int, mark: str = "") -> list[str]:
        """`label` on at most `most` lines, `mark` before it."""
        ways = [f"{mark}{printable(label)}" for label in self.labels]
        shown = next((way for way in ways if cells(f"{way} {self.repeats}".rstrip()) <= room), ways[-1])
        return self.wrapped(shown, room, most)

    def wrapped(self, words: str, room: int, most: int) -> list[str]:
        """On at most `most` lines; how often it was sent is never cut off, on one more line if need be."""
        lines = wrapped(words, room, most)
        if self.repeats and cells(f"{lines[-1]} {self.repeats}") <= room:
            return [*lines[:-1], f"{lines[-1]} {self.repeats}"]
        return [*lines, self.repeats] if self.repeats else lines

    @property
    def repeats(self) -> str:
        """`×3 over 3.5 s`, "" for a message that was sent once."""
        if self.sent == 1:
            return ""
        seconds = self.over_us / 1e6
        return (
            f"×{self.sent} over {seconds:.1f} s"
            if seconds >= 0.05
            else f"×{self.sent} within {self.over_us / 1e3:.0f} ms"
        )

    @property
    def unusual(self) -> bool:
        """What the eye must find; everything else may be folded away."""
        if self.arrow is None:
            return self.evidence or self.refused or _loud(self.entry)
        status = self.arrow.sip.status
        return self.evidence or self.failing or self.sent > 1 or (status >= 300 and status not in CHALLENGES)


def _loud(entry: Entry) -> bool:
    return entry.log is not None and entry.log.level in ("warning", "error", "critical")


def writer_of(session: Session, entry: Entry) -> Participant | None:
    """The lane beside which a log line stands: of a step of the billing engine the engine's."""
    name = entry.source or entry.node
    return next((one for one in session.participants if name in (one.id, one.label, *one.agents)), None)


def writer_name(session: Session, entry: Entry) -> str:
    owner = writer_of(session, entry)
    return owner.label if owner else entry.node


def rows_of(session: Session, issues: Sequence[Issue] = ()) -> list[Row]:
    """One row an entry, in story order; a retransmission adds to the row of what was sent first."""
    evidence = {each.message for issue in issues for each in issue.evidence}
    failing = failing_numbers(session, issues)
    unheard = {
        one.request.number for one in session.transactions if one.request and not one.provisional and not one.final
    }
    rows: dict[int, Row] = {}
    for entry in session.entries:
        first = rows.get(entry.arrow.retransmission_of or 0) if entry.arrow else None
        if first:
            first.sent += 1
            first.over_us = max(first.over_us, entry.time_us - first.entry.time_us)
            first.evidence |= entry.number in evidence
            first.failing |= entry.number in failing
            continue
        words = message_words(entry.arrow) if entry.arrow else entry.text
        rows[entry.number] = Row(
            entry,
            words,
            entry.arrow,
            evidence=entry.number in evidence,
            failing=entry.number in failing,
            unheard=entry.number in unheard,
            time=f"+{max(0, entry.time_us - session.started_us) / 1e6:.3f}",
        )
    return list(rows.values())


def failing_numbers(session: Session, issues: Sequence[Issue]) -> set[int]:
    """The messages that the story failed at: of a critical primary issue's evidence the refusals, else, where the session
    failed, the last of it; without issues the final response that ended a failed session. An answered call whose sound
    was missing failed at no message."""
    if issues:
        if issues[0].severity != "critical":
            return set()
        cited = {each.message for each in issues[0].evidence}
        arrows = [arrow for arrow in session.arrows if arrow.number in cited]
        refusals = {arrow.number for arrow in arrows if arrow.sip.status >= 300}
        if refusals or session.outcome not in _FAILED:
            return refusals
        return {arrow.number for arrow in arrows[-1:]}
    if session.outcome in _FAILED and session.final_code:
        main = next((leg for leg in session.legs if leg.outcome == session.outcome), session.legs[0])
        for transaction in session.transactions:
            final = transaction.final
            if (
                final
                and transaction.leg == main.call_id
                and transaction.parent is None
                and final.sip.status == main.final_code
            ):
                return {final.number}
    return set()
