"""A session as a file to take along: pcap, text, JSON, SVG, or its billing log alone."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, ip_address

from ringback import clock
from ringback.sessions.capture.pcap_writer import write_pcap
from ringback.sessions.classic import classic_text
from ringback.sessions.diagram.svg import advanced_svg
from ringback.sessions.diagram.text import ladder
from ringback.sessions.documents import session_document, to_json, traced_document
from ringback.sessions.report import answer, headline, printable
from ringback.sessions.schemas import OpenedSession, QueryError
from ringback.sessions.story import Entry, Sighting

WIDTH = 120
_RESERVED = int(IPv4Address("240.0.0.0"))
FORMATS = ("pcap", "text", "json", "svg", "classic")


@dataclass(frozen=True, slots=True)
class Exported:
    data: bytes
    media_type: str
    filename: str


def exported(opened: OpenedSession, format_: str) -> Exported:
    """Raises QueryError for a format that is none of FORMATS."""
    stem = _stem(opened)
    match format_:
        case "pcap":
            return Exported(_pcap(opened), "application/vnd.tcpdump.pcap", f"{stem}.pcap")
        case "text":
            return Exported(_text(opened).encode(), "text/plain; charset=utf-8", f"{stem}.txt")
        case "json":
            document = traced_document(opened.id, opened.session, opened.issues, opened.whose)
            return Exported(to_json(document, pretty=True), "application/json", f"{stem}.json")
        case "svg":
            drawn = advanced_svg(opened.session, opened.issues, standalone=True)
            return Exported(drawn.encode(), "image/svg+xml", f"{stem}.svg")
        case "classic":
            told = classic_text(opened.session).encode()
            return Exported(told, "text/plain; charset=utf-8", f"{stem}-billing.txt")
        case _:
            raise QueryError("format", f"{format_!r} is none of {', '.join(FORMATS)}")


def _stem(opened: OpenedSession) -> str:
    """session-20261122-120501-12103355787: what a person finds again in a folder of downloads."""
    begun = clock.from_us(opened.session.started_us).strftime("%Y%m%d-%H%M%S")
    caller = re.sub(r"[^A-Za-z0-9.+_-]", "", opened.session.caller)[:40]
    return f"session-{begun}-{caller}" if caller else f"session-{begun}"


def _pcap(opened: OpenedSession) -> bytes:
    """Every sighting, as each probe saw it and when."""
    sightings = [sighting for arrow in opened.session.arrows for sighting in arrow.sightings]
    if opened.masked:
        sightings = _numbered(sightings)
    out = io.BytesIO()
    write_pcap(out, sorted(sightings, key=lambda sighting: sighting.time_us))
    return out.getvalue()


def _numbered(sightings: list[Sighting]) -> list[Sighting]:
    """A packet needs addresses: each one that is masked becomes one of 240.0.0.0/4, which no network uses."""
    stand_ins: dict[str, str] = {}

    def numbered(address: str) -> str:
        if _is_address(address):
            return address
        return stand_ins.setdefault(address, str(IPv4Address(_RESERVED + len(stand_ins) + 1)))

    return [
        one._replace(hop=replace(one.hop, source=numbered(one.hop.source), destination=numbered(one.hop.destination)))
        for one in sightings
    ]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _text(opened: OpenedSession) -> str:
    session = opened.session
    document = session_document(session, opened.issues)
    parts = [
        headline(document),
        *answer(document["issues"], width=WIDTH),
        *(f"   Note: {printable(note)}" for note in session.notes),
        "",
        ladder(session, width=WIDTH, colour=False, issues=opened.issues),
    ]
    labels = {one.id: one.label for one in session.participants}
    for entry in session.entries:
        parts += ["", _heading(entry, labels), _raw(entry)]
    return "\n".join(parts) + "\n"


def _heading(entry: Entry, labels: dict[str, str]) -> str:
    said = entry.arrow or entry  # of a billing line who says it, too
    where = " -> ".join(labels.get(one, "?") for one in (said.source, said.destination) if one) or entry.node
    return printable(f"#{entry.number} {clock.isoformat(entry.time_us)} {entry.kind} {where}")


def _raw(entry: Entry) -> str:
    if entry.arrow:
        return entry.arrow.payload.decode("utf-8", "replace").replace("\r\n", "\n").rstrip("\n")
    return entry.log.text if entry.log else entry.text
