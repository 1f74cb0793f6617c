"""One recorded scenario made to happen again: at another time, to other people, in every header and body alike."""

from __future__ import annotations

import hashlib
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ringback.demo.cast import outside_number, subscriber
from ringback.demo.recording import Played
from ringback.sessions.capture.hep import SIP, HepPacket, decode, encode
from ringback.sessions.capture.sip import parse
from ringback.sessions.story import Hop

_TAG_OR_BRANCH = re.compile(r"(branch=z9hG4bK|tag=|tag%3D)([\w.~+-]+)")
_RUN_OF_HEX = re.compile(r"[0-9a-f]{6,}")
_CONTENT_LENGTH = re.compile(rb"^(Content-Length: *)\d+", re.MULTILINE | re.IGNORECASE)
_KEPT_NUMBER = re.compile("12105550199|1773")  # routing treats these as it does, so copies keep them
SUBSCRIBERS, OUTSIDE_NUMBERS = 99, 360


@dataclass(frozen=True, slots=True)
class Original:
    """A scenario and its packets, in order of time."""

    played: Played
    packets: list[HepPacket]

    @property
    def seconds(self) -> float:
        return (self.packets[-1].time_us - self.packets[0].time_us) / 1e6


@dataclass(frozen=True, slots=True)
class Timed:
    """A packet and the moment it tells of, which is also when a live replay sends it."""

    time_us: int
    packet: bytes


def originals(packets: Iterable[bytes], played: Iterable[Played]) -> dict[str, Original]:
    """The recording by scenario. Packets of no scenario (a node's own OPTIONS) are left out."""
    scenario_of = {call_id: each for each in played for call_id in each.call_ids}
    found: dict[str, list[HepPacket]] = defaultdict(list)
    for data in packets:
        packet = decode(data, 0)
        call_id = parse(packet.payload).call_id if packet.payload_type == SIP else packet.correlation
        if call_id in scenario_of:
            found[scenario_of[call_id].id].append(packet)
    return {
        each.id: Original(each, sorted(found[each.id], key=lambda packet: packet.time_us))
        for each in scenario_of.values()
    }


def again(
    original: Original, start_us: int, *, talk_s: float = 0.0, dice: random.Random | None = None
) -> list[Timed]:
    """The scenario beginning at `start_us`, talking `talk_s` longer. With `dice` it happens to other people: their
    numbers, names, addresses and phones are drawn, and every Call-ID, tag and branch is another.
    """
    rewrite = _as_it_was if dice is None else _rewriting(original.played, dice)
    shift_us = start_us - original.packets[0].time_us
    hang_up_us = min((p.time_us for p in original.packets if p.payload.startswith(b"BYE ")), default=None)
    timed = []
    for packet in original.packets:
        time_us = packet.time_us + shift_us
        if hang_up_us is not None and packet.time_us >= hang_up_us:
            time_us += round(talk_s * 1e6)
        hop = packet.hop
        moved = Hop(
            hop.transport,
            rewrite(hop.source),
            hop.source_port,
            rewrite(hop.destination),
            hop.destination_port,
            hop.agent,
        )
        payload = _with_length(rewrite(packet.payload.decode()).encode(), packet.payload)
        correlation = rewrite(packet.correlation)
        data = encode(time_us, moved, payload, payload_type=packet.payload_type, correlation=correlation)
        timed.append(Timed(time_us, data))
    return timed


def _as_it_was(text: str) -> str:
    return text


def _rewriting(played: Played, dice: random.Random) -> Callable[[str], str]:
    """A function that puts other people and other ids into a text."""
    salt = dice.randbytes(8)
    words: dict[str, str] = {}
    others = [index for index in range(SUBSCRIBERS) if index not in played.subscribers]
    newcomers = dice.sample(others, len(played.subscribers))
    for was, now in zip(map(subscriber, played.subscribers), map(subscriber, newcomers), strict=True):
        words |= {was.number: now.number, was.address: now.address, was.name: now.name, was.phone: now.phone}
    numbers = [number for number in map(outside_number, range(OUTSIDE_NUMBERS)) if number not in played.outside]
    words |= dict(zip(played.outside, dice.sample(numbers, len(played.outside)), strict=True))
    words = {old: new for old, new in words.items() if not _KEPT_NUMBER.match(old)}
    for call_id in played.call_ids:
        own = call_id.split("@")[0]
        words[own] = _hashed(own, salt)
    pattern = re.compile("|".join(_whole(word) for word in sorted(words, key=len, reverse=True)))

    def rewrite(text: str) -> str:
        text = pattern.sub(lambda match: words[match[0]], text)
        return _TAG_OR_BRANCH.sub(lambda match: match[1] + _hashed(match[2], salt), text)

    return rewrite


def _whole(word: str) -> str:
    """Not within a longer number or address."""
    return rf"(?<![\w.]){re.escape(word)}(?!\w|\.\d)" if word[0].isdigit() else re.escape(word)


def _hashed(token: str, salt: bytes) -> str:
    """Another token of the same shape, the same one for the same salt."""

    def other(run: re.Match[str]) -> str:
        digest = hashlib.blake2s(run[0].encode(), key=salt).hexdigest()
        return (digest * (len(run[0]) // len(digest) + 1))[: len(run[0])]

    return _RUN_OF_HEX.sub(other, token)


def _with_length(payload: bytes, original: bytes) -> bytes:
    """Content-Length as the body is now, where it was right before."""
    head, separator, body = payload.partition(b"\r\n\r\n")
    if not separator or len(body) == len(original.partition(b"\r\n\r\n")[2]):
        return payload
    return _CONTENT_LENGTH.sub(rb"\g<1>%d" % len(body), head) + separator + body
