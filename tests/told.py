"""Stories told from ladders (see scenario.py), and short ways to say what one holds."""

from __future__ import annotations

from ringback.sessions.correlate import build_session, build_sessions
from ringback.sessions.story import Arrow, Session
from scenario import Played, play


def told(ladder: str, *, registered: bool = True) -> Session:
    """The one session of a ladder. `registered`: with the node register that the ladder describes."""
    played = play(ladder)
    return build_session(
        played.sightings, logs=played.logs, media=played.media, nodes=played.nodes if registered else ()
    )


def all_told(ladder: str) -> list[Session]:
    played = play(ladder)
    return build_sessions(played.sightings, logs=played.logs, media=played.media, nodes=played.nodes)


def flow(session: Session, played: Played) -> list[str]:
    """`alice > edge INVITE`, `edge > alice 180`: the story, with the names of the ladder."""
    return [line(arrow, session, played) for arrow in session.arrows]


def line(arrow: Arrow, session: Session, played: Played) -> str:
    ends = []
    for participant_id in (arrow.source, arrow.destination):
        addresses = session.participant(participant_id).addresses
        ends.append(next((played.names[one] for one in addresses if one in played.names), participant_id))
    what = arrow.sip.method if arrow.sip.is_request else str(arrow.sip.status)
    return f"{ends[0]} > {ends[1]} {what}"
