"""What of a capture is somebody's, found without the code under test; and whether an answer tells any of it."""

from __future__ import annotations

import gzip
import html
import re
from collections.abc import Collection, Iterable, Iterator
from ipaddress import ip_address
from urllib.parse import unquote

from ringback.sessions.story import NodeInfo, Session, Sighting

NOT_PERSONAL = {
    "anonymous", "restricted", "unavailable", "private", "unknown", "nobody", "asterisk", "sip", "sipp", "ping",
}  # fmt: skip
_SEPARATORS = re.compile(r"[-. ()/]")


def identities(sightings: Iterable[Sighting], nodes: Iterable[NodeInfo] = ()) -> set[str]:
    """Users of URIs and logins, numbers, display names and addresses of no node, of four characters and more."""
    found: set[str] = set()
    known = {address for node in nodes for address in node.addresses}
    for one in sightings:
        text = one.payload.decode("utf-8", "replace")
        found |= {one.hop.source, one.hop.destination}
        found |= set(re.findall(r"\b(?:sips?|tel):\+?([^@;>\s\"?,]+)(?=@|[;>\s])", text))
        found |= set(
            re.findall(
                r"^(?:From|To|f|t|Contact|m|P-[\w-]+|Remote-Party-ID)\s*:\s*\"([^\"]+)\"\s*<", text, re.M | re.I
            )
        )
        found |= set(re.findall(r"^(?:From|To|f|t)\s*:\s*([^\"<:;\s][^\"<:;\n]*?)\s*<", text, re.M | re.I))
        found |= set(re.findall(r"username=\"([^\"]+)\"", text))
        found |= set(
            re.findall(
                r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])", re.sub(r"(?im)^(?:user-agent|server).*$", "", text)
            )
        )
    return {one for one in found if len(one) > 3 and _is_personal(one, known)}


def _is_personal(text: str, known: Collection[str]) -> bool:
    if text.lower() in NOT_PERSONAL or text in known or text.partition(":")[0] in known:
        return False
    host = re.sub(r":\d+$", "", text)
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        # A URI without a user names a domain.
        return not re.fullmatch(r"(?:[\w-]+\.)+[a-z]{2,}", host)
    return not (address.is_loopback or address.is_unspecified or address.is_multicast)


def told(data: bytes | str, known: Iterable[str]) -> set[str]:
    """Those of `known` that `data` tells: as it stands, unescaped from HTML or a URL, or between other separators."""
    texts = set(_readings(data))
    return {one for one in known if any(_holds(text, one) for text in texts)}


def _readings(data: bytes | str) -> Iterator[str]:
    if isinstance(data, bytes):
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        yield data.decode("latin-1").casefold()
        data = data.decode("utf-8", "replace")
    text = data.casefold()
    yield text
    yield html.unescape(text)
    yield unquote(text)
    yield _SEPARATORS.sub("", re.sub(r"\d{4}-\d\d-\d\dt?|\d\d:\d\d:\d\d\.\d+", " ", text))


def _holds(text: str, identity: str) -> bool:
    wanted = identity.casefold()
    if wanted not in text:
        return False
    if len(wanted) > 5 or not wanted.isalnum():
        return True
    return re.search(rf"(?<![^\W_]){re.escape(wanted)}(?![^\W_])", text) is not None


def of_session(session: Session) -> list[Sighting]:
    return [sighting for arrow in session.arrows for sighting in arrow.sightings]
