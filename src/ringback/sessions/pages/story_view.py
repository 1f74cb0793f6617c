"""An opened session as its page shows it: the timeline's rows and folds, the facts, the answer's steps by role."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ringback.sessions import billing_log
from ringback.sessions.diagram.rows import CHALLENGES, failing_numbers
from ringback.sessions.pages.words import ENTRY_WORDS, ROLE_WORDS
from ringback.sessions.schemas import OpenedSession
from ringback.sessions.story import Arrow, Entry, Issue, Leg, Session, StreamReport
from ringback.web.formats import duration, plural

FOLD_ABOVE = 60  # entries: a shorter timeline is shown whole
FOLD_RUN = 8  # fewer healthy rows in a row are not worth a fold
POOR_MOS, POOR_LOSS_PERCENT, POOR_JITTER_MS = 3.6, 3.0, 30.0


@dataclass(slots=True)
class Row:
    """One line of the timeline."""

    number: int
    time_us: int
    offset_s: float  # since the session's start
    kind: str  # sip billing log media
    kind_word: str
    node: str  # where it was seen or written, as the node filter names it
    source: str = ""  # labels of the two lanes of a message
    destination: str = ""
    step: str = ""  # of a billing line
    text: str = ""
    why: list[str] = field(default_factory=list)  # evidence of the issues
    tone: str = ""  # warn: evidence of an issue; bad: the one that the story turns on
    failure: bool = False
    repeat_of: int | None = None
    probes: int = 0
    nodes: tuple[str, ...] = ()  # that the node filter finds it under


@dataclass(slots=True)
class Stretch:
    """Rows shown together; a folded one is a single line until it is opened."""

    rows: list[Row]
    folded: bool

    @property
    def first(self) -> int:
        return self.rows[0].number


@dataclass(frozen=True, slots=True)
class Fact:
    name: str
    text: str
    mono: bool = False
    copied: bool = False


@dataclass(frozen=True, slots=True)
class Timeline:
    stretches: list[Stretch]
    kinds: list[tuple[str, str, int]]  # (kind, word, how many)
    nodes: list[str]
    shown: int
    total: int


def timeline(opened: OpenedSession, kind: str = "", node: str = "", unfolded: bool = False) -> Timeline:
    session = opened.session
    labels = {name: one.label for one in session.participants for name in (one.id, *one.agents)}
    rows = [_row(entry, session, labels) for entry in session.entries]
    _cite(rows, opened)
    counts = Counter(row.kind for row in rows)
    words = {row.kind: row.kind_word for row in rows}
    nodes = list(dict.fromkeys(name for row in rows for name in row.nodes))
    shown = [row for row in rows if (not kind or row.kind == kind) and (not node or node in row.nodes)]
    fold = not unfolded and len(shown) > FOLD_ABOVE
    return Timeline(
        stretches=_stretches(shown) if fold else [Stretch(shown, False)] if shown else [],
        kinds=[(name, words[name], count) for name, count in counts.items()],
        nodes=nodes,
        shown=len(shown),
        total=len(rows),
    )


def _cite(rows: Iterable[Row], opened: OpenedSession) -> None:
    """Say at each row what it proves. Only what the diagrams mark as failing is red here, too."""
    failing = failing_numbers(opened.session, opened.issues)
    by_number = {row.number: row for row in rows}
    for issue in opened.issues:
        for evidence in issue.evidence:
            row = by_number.get(evidence.message)
            if row and evidence.why not in row.why:
                row.why.append(evidence.why)
                if issue.severity != "notice":
                    row.tone = "warn"
    for number in failing & by_number.keys():
        by_number[number].tone = "bad"


def _row(entry: Entry, session: Session, labels: Mapping[str, str]) -> Row:
    """`labels`: of participants by their id and by their capture agents, which is how log lines name a node."""
    node = labels.get(entry.node, entry.node)
    row = Row(
        number=entry.number,
        time_us=entry.time_us,
        offset_s=(entry.time_us - session.started_us) / 1_000_000,
        kind=entry.kind,
        kind_word=ENTRY_WORDS.get(entry.kind, entry.kind.upper()),
        node=node,
        text=entry.text,
        nodes=(node,) if node else (),
    )
    if arrow := entry.arrow:
        row.source = labels.get(arrow.source, arrow.source)
        row.destination = labels.get(arrow.destination, arrow.destination)
        row.nodes = (row.source, row.destination)
        row.text = start_line(arrow)
        row.failure = arrow.sip.status >= 400 and arrow.sip.status not in CHALLENGES
        row.repeat_of = arrow.retransmission_of
        row.probes = len(arrow.sightings)
    elif entry.log:
        row.failure = entry.log.level in ("error", "critical")
        if entry.kind == billing_log.KIND:
            row.step = billing_log.step_words(entry.log)
            row.failure |= billing_log.result_of(entry.log) == "refused"
            row.source = labels.get(entry.source, entry.source)
            row.destination = labels.get(entry.destination, entry.destination)
            row.nodes = tuple(dict.fromkeys(name for name in (row.source, row.destination) if name)) or row.nodes
            row.node = row.source or row.node
    return row


def start_line(arrow: Arrow) -> str:
    """``INVITE sip:18660333777@acme.example``, ``403 Destination forbidden (INVITE)``."""
    sip = arrow.sip
    return f"{sip.method} {sip.request_uri}" if sip.is_request else f"{sip.status} {sip.phrase} ({sip.method})"


def _stretches(rows: Sequence[Row]) -> list[Stretch]:
    """Healthy rows folded, but for those beside a row that matters and at both ends."""
    matters = [bool(row.why) or row.failure for row in rows]
    near = {at + step for at, it_does in enumerate(matters) if it_does for step in (-1, 0, 1)}
    near |= {0, 1, len(rows) - 2, len(rows) - 1}
    stretches: list[Stretch] = []
    run: list[Row] = []
    for at, row in enumerate(rows):
        if at not in near:
            run.append(row)
            continue
        _close(stretches, run)
        run = []
        if not stretches or stretches[-1].folded:
            stretches.append(Stretch([], False))
        stretches[-1].rows.append(row)
    _close(stretches, run)
    return stretches


def _close(stretches: list[Stretch], run: list[Row]) -> None:
    if not run:
        return
    if len(run) >= FOLD_RUN:
        stretches.append(Stretch(run, True))
    elif stretches and not stretches[-1].folded:
        stretches[-1].rows += run
    else:
        stretches.append(Stretch(run, False))


def steps_by_role(issue: Issue) -> list[tuple[str, list[str]]]:
    """Support first: it has the caller on the line."""
    texts: dict[str, list[str]] = {}
    for step in issue.steps:
        texts.setdefault(step.role, []).append(step.text)
    order = [*ROLE_WORDS, *(role for role in texts if role not in ROLE_WORDS)]
    return [(ROLE_WORDS.get(role, role.capitalize()), texts[role]) for role in order if role in texts]


def main_leg(session: Session) -> Leg:
    """The leg that the session is named after."""
    return next((leg for leg in session.legs if leg.kind == session.kind), session.legs[0])


def facts(opened: OpenedSession) -> list[Fact]:
    session = opened.session
    found = [Fact("Caller", session.caller, mono=True), Fact("Called", session.called, mono=True)]
    if session.final_code:
        found.append(Fact("Final code", f"{session.final_code} {session.final_phrase}".rstrip(), mono=True))
    found += _timings(main_leg(session))
    nodes = [participant.label for participant in session.participants if participant.cluster]
    found.append(Fact("Nodes", ", ".join(nodes)))
    agents = dict.fromkeys(participant.user_agent for participant in session.participants if participant.user_agent)
    found += [Fact("Software", agent) for agent in agents]
    found += [Fact("Call-ID", call_id, mono=True, copied=True) for call_id in session.call_ids]
    found.append(Fact("Session id", opened.id, mono=True, copied=True))
    return [fact for fact in found if fact.text]


def _timings(leg: Leg) -> Iterable[Fact]:
    if leg.kind == "call" and leg.ringing_us is not None:
        yield Fact("Post-dial delay", _seconds(leg.ringing_us - leg.started_us))
    if leg.answered_us is not None:
        since = leg.ringing_us if leg.ringing_us is not None else leg.started_us
        yield Fact("Ring time", _seconds(leg.answered_us - since))
    if leg.duration_s is not None:
        yield Fact("Talk time", _seconds(round(leg.duration_s * 1_000_000)))


def _seconds(us: int) -> str:
    return duration(us / 1_000_000)


def stream_troubles(stream: StreamReport) -> dict[str, bool]:
    """Which figures of a stream a listener would hear."""
    return {
        "loss": (stream.loss_percent or 0) > POOR_LOSS_PERCENT,
        "jitter": (stream.jitter_ms or 0) > POOR_JITTER_MS,
        "mos": stream.mos is not None and stream.mos < POOR_MOS,
    }


def unnamed_answer(session: Session) -> tuple[str, str, str]:
    """(tone, title, text) where the catalogue has nothing to say: the call goes on, or its trouble has no name yet."""
    failures = sum(
        arrow.sip.status >= 400 and arrow.sip.status not in CHALLENGES and not arrow.is_retransmission
        for arrow in session.arrows
    )
    if failures:
        seen = f"{plural(failures, 'message')} below {'says' if failures == 1 else 'say'} that something failed"
        return "neutral", "No known issue", f"{told(session)} {seen}, and no issue of the catalogue explains it."
    return "ok", "Nothing unusual", told(session)


def told(session: Session) -> str:
    """What happened so far, in one sentence."""
    leg = main_leg(session)
    caller, called = session.caller or "The caller", session.called or "the callee"
    if session.kind == "call" and leg.answered_us is not None:
        answered = f"{caller} called {called}, who answered after {_seconds(leg.answered_us - leg.started_us)}"
        if leg.duration_s is None:
            return f"{answered}; no end was seen yet."
        return f"{answered}; it lasted {_seconds(round(leg.duration_s * 1_000_000))}."
    if session.outcome == "in_progress":
        return "It is going on: no end was seen yet."
    return "The messages were exchanged as they should be."
