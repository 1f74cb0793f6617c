"""Two messages side by side, header by header, so that an added Via does not shift all that follows."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ringback.sessions.capture.sip import SipMessage
from ringback.sessions.pages.message_view import body_text, hex_lines
from ringback.sessions.story import Arrow

_TOKENS = re.compile(r"\w+|\s+|.")
_SPELLED = {
    "call-id": "Call-ID", "cseq": "CSeq", "www-authenticate": "WWW-Authenticate", "mime-version": "MIME-Version",
    "rack": "RAck", "rseq": "RSeq", "session-id": "Session-ID", "sip-etag": "SIP-ETag", "sip-if-match": "SIP-If-Match",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Piece:
    text: str
    differs: bool


@dataclass(frozen=True, slots=True)
class Pair:
    """One row. `state`: same, changed, left (only there), right, or gap (a heading between head and body)."""

    state: str
    name: str
    left: list[Piece]
    right: list[Piece]


def compare(left: Arrow, right: Arrow) -> list[Pair]:
    pairs = [_pair("", _start_line(left), _start_line(right))]
    pairs += _headers(left.sip, right.sip)
    left_body, right_body = _body(left.sip.body), _body(right.sip.body)
    if left_body or right_body:
        pairs.append(Pair("gap", "Body", [], []))
        pairs += _lines(left_body, right_body)
    return pairs


def differences(pairs: Sequence[Pair]) -> int:
    return sum(pair.state in ("changed", "left", "right") for pair in pairs)


def spelled(name: str) -> str:
    """A canonical header name as people write it."""
    return _SPELLED.get(name) or "-".join(part.capitalize() for part in name.split("-"))


def _start_line(arrow: Arrow) -> str:
    return arrow.payload.lstrip(b"\r\n").split(b"\n", 1)[0].decode("utf-8", "replace").rstrip("\r")


def _headers(left: SipMessage, right: SipMessage) -> Iterator[Pair]:
    names = [name for name, _ in left.headers], [name for name, _ in right.headers]
    # Equal values weigh more than equal names: the Via that stayed is the one that is paired.
    whole = difflib.SequenceMatcher(None, left.headers, right.headers, autojunk=False)
    for tag, left_from, left_to, right_from, right_to in whole.get_opcodes():
        if tag == "equal":
            yield from (_pair(name, value, value) for name, value in left.headers[left_from:left_to])
            continue
        by_name = difflib.SequenceMatcher(
            None, names[0][left_from:left_to], names[1][right_from:right_to], autojunk=False
        )
        for kind, first, last, other, other_last in by_name.get_opcodes():
            lefts = left.headers[left_from + first : left_from + last]
            rights = right.headers[right_from + other : right_from + other_last]
            if kind == "equal":
                yield from (
                    _pair(name, value, there) for (name, value), (_, there) in zip(lefts, rights, strict=True)
                )
                continue
            yield from (Pair("left", spelled(name), [Piece(value, True)], []) for name, value in lefts)
            yield from (Pair("right", spelled(name), [], [Piece(value, True)]) for name, value in rights)


def _lines(left: list[str], right: list[str]) -> Iterator[Pair]:
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    for _, left_from, left_to, right_from, right_to in matcher.get_opcodes():
        lefts, rights = left[left_from:left_to], right[right_from:right_to]
        both = min(len(lefts), len(rights))
        yield from (_pair("", lefts[index], rights[index]) for index in range(both))
        yield from (Pair("left", "", [Piece(text, True)], []) for text in lefts[both:])
        yield from (Pair("right", "", [], [Piece(text, True)]) for text in rights[both:])


def _pair(name: str, left: str, right: str) -> Pair:
    name = spelled(name) if name else ""
    if left == right:
        return Pair("same", name, [Piece(left, False)], [Piece(right, False)])
    left_words, right_words = _TOKENS.findall(left), _TOKENS.findall(right)
    matcher = difflib.SequenceMatcher(None, left_words, right_words, autojunk=False)
    pieces: tuple[list[Piece], list[Piece]] = ([], [])
    for tag, left_from, left_to, right_from, right_to in matcher.get_opcodes():
        for side, words in ((0, left_words[left_from:left_to]), (1, right_words[right_from:right_to])):
            if words:
                pieces[side].append(Piece("".join(words), tag != "equal"))
    return Pair("changed", name, *pieces)


def _body(body: bytes) -> list[str]:
    if not body:
        return []
    text = body_text(body)
    return list(hex_lines(body)) if text is None else text.replace("\r\n", "\n").rstrip("\n").split("\n")
