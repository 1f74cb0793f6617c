"""Finds the identities of a session again wherever else they were written: in log lines, in a Call-ID, in a sentence.

Besides, it hides what looks like somebody's: addresses, users of URIs, numbers of seven digits and more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from ipaddress import ip_address
from urllib.parse import unquote

from ringback.access.masking import mask
from ringback.sessions.masking.places import NOBODY, Places
from ringback.sessions.masking.terms import pattern_of
from ringback.sessions.story import NodeInfo

_LONG_DIGITS = 5  # a number of as many digits is found inside other words too
_LONG_NAME = 6
_TAILS = (10, 9, 8, 7)  # digits that are left of a number without its country code, its area code
_MOST_TERMS = 4000  # above that, nothing but structure is left to read

_IPV4 = r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?!\d|\.\d)"
_IPV6 = (
    r"(?<![0-9A-Za-z])(?<!::)(?:[0-9A-Fa-f]{0,4}:){2,7}(?:(?:\d{1,3}\.){3}\d{1,3}|[0-9A-Fa-f]{0,4})(?![0-9A-Za-z:])"
)
_ADDRESS = re.compile(f"{_IPV6}|{_IPV4}")
_URI = re.compile(r"(?<![\w.])(?:sips?|tel|callto|mailto|im|pres|xmpp):[^\s<>\"',]+", re.IGNORECASE)
_ESCAPED = re.compile(r"(?<![^\s<>\"])[^\s<>\"%]*%[0-9A-Fa-f]{2}[^\s<>\"]*")
_AT_HOST = re.compile(r"(?<![^\s<>\"'(),;:=@\[\]/|])([^\s<>\"'(),;:=@\[\]/|]+)@(\[[0-9A-Fa-f:.]+\]|[\w.-]*\w)")
_DATE = re.compile(
    r"(?<!\d)\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)?(?!\d)|(?<![\d:])\d\d:\d\d:\d\d(?:[.,]\d+)?(?!\d)"
)
_MAC = re.compile(
    r"(?<![0-9A-Za-z])[0-9A-Fa-f]{2}(?:([:-])[0-9A-Fa-f]{2}(?:\1[0-9A-Fa-f]{2}){4}|[0-9A-Fa-f]{10})(?![0-9A-Za-z])"
)
_SEPARATORS = r"[\s\-.()/\u00a0\u2010-\u2013\u202f]{0,3}"  # what people put between the digits of a number
_SPREAD_DIGITS = rf"\d(?:{_SEPARATORS}\d){{4,}}"
_NUMBER = re.compile(rf"(?<![\w%])\+?\(?\d(?:{_SEPARATORS}\d){{6,}}(?!\w)")
_AFTER_NUMBER = r"(?![\w%]|\.\d|\s?(?:s|ms|min|h|%|packets?|messages?|bytes|times|entries)\b)"
# user=..., "customer_name": "...", callerName: ...
_NAMED = re.compile(
    r"""(?<![^\W_])((?:caller|called|user|display|first|last|full|nick)?(?:name|user|login|caller|called|customer|account
    |subscriber|e-?mail|from|to|cli|ani|dnis|msisdn|imsi|number|phone|contact|aor|identity|owner|person|address)["']?
    [ ]?[=:][ ]?)("(?:[^"\\]|\\.)*"|'[^']*'|[^\s,;|)\]}"'<>]+)""",
    re.IGNORECASE | re.VERBOSE,
)
_CAPITALS = re.compile(r"[^\W\d_a-z][\w'’.-]*(?: [^\W\d_a-z][\w'’.-]*)+")

_Step = tuple[re.Pattern[str], Callable[[re.Match[str]], str | None]]  # what is found, and what is shown of it


class Veil(Places):
    """Of one session: `learning` until `seal`. Not thread-safe."""

    def __init__(self, nodes: Iterable[NodeInfo] = ()) -> None:
        super().__init__(nodes)
        self._codes: set[str] = set()
        self._kept: dict[str, Callable[[str], str]] = {}
        self._terms: list[str] = []  # longest first
        self._digits: set[str] = set()  # of long numbers, whole and without their beginning
        self._too_many = False
        self.lines: dict[str, str] = {}  # headers that were masked: a dialog repeats most of them
        self._cache: dict[tuple[str, str], str] = {}
        self._steps: dict[str, list[_Step]] = {}  # by mode
        self._known_steps: list[_Step] | None = None

    def keep(self, text: str, by: Callable[[str], str]) -> None:
        """Where `text` stands in a sentence, `by` says what is shown of it."""
        if len(text) > 2:
            self._kept[text] = by

    def code(self, status: int) -> None:
        """A response code of the session, which in a sentence is no extension of three digits."""
        self._codes.add(str(status))

    def seal(self) -> None:
        """Everything was learned."""
        self.learning = False
        self._cache.clear()
        self._steps.clear()
        long_numbers = {one for one in self.numbers if len(one) >= _LONG_DIGITS}
        self._digits = long_numbers | {one[-tail:] for one in long_numbers for tail in _TAILS if len(one) > tail}
        self._terms = sorted(long_numbers.union(one for one in self.names if len(one) > 2), key=len, reverse=True)
        self._too_many = len(self._terms) > _MOST_TERMS

    def text(self, text: str) -> str:
        """Words: an issue's sentence, a Reason."""
        return self._through("text", text)

    def token(self, text: str) -> str:
        """An identifier: Call-ID, tag, branch. Its random part stays, so that it can be told from another."""
        return self._through("token", text)

    def software(self, text: str) -> str:
        """A User-Agent or Server, whose versions look like addresses."""
        return self._through("software", text)

    def log(self, text: str) -> str:
        """A log line: besides, what it calls somebody's (`user=...`, `"customer": "..."`)."""
        pieces, end = [], 0
        for match in _NAMED.finditer(text):
            pieces += [self.text(text[end : match.start()]), match[1], self._named_in_log(match[2])]
            end = match.end()
        return "".join([*pieces, self.text(text[end:])])

    def field(self, name: str, value: str) -> str:
        """A field of a log line."""
        return self._named_in_log(value) if _NAMED.fullmatch(f"{name}=x") else self.log(value)

    def place(self, text: str) -> str:
        """A participant: a node's name, a capture agent, or address:port."""
        if text in self.node_names or text in self.agents:
            return text
        host, colon, port = text.rpartition(":")
        if colon and port.isdigit() and self.address(host.strip("[]")):
            return f"{self.host(host)}:{port}"
        return self.address(text) or self.text(text)

    def _named_in_log(self, value: str) -> str:
        quote = value[:1] if value[:1] in "\"'" and len(value) > 1 else ""
        inner = value[len(quote) : len(value) - len(quote)]
        masked = self.text(inner)
        if (
            masked == inner
            and inner.lower() not in NOBODY
            and not self.address(inner)
            and inner not in self.node_names
        ):
            if _CAPITALS.fullmatch(inner):
                return quote + self.name(inner) + quote
            masked = self.hidden(inner, "name", inner.casefold()) if re.search(r"[^\W\d_]|\d{3}", inner) else inner
        return quote + masked + quote

    def _through(self, mode: str, text: str) -> str:
        """Each step masks what it finds in what the steps before it left."""
        if self._too_many:
            return self.blank(text)
        known = self._cache.get((mode, text))
        if known is not None:
            return known
        pieces = [(text, False)]  # (text, whether it is done)
        for pattern, shown_of in self._arranged(mode):
            found: list[tuple[str, bool]] = []
            for piece, done in pieces:
                found += [(piece, True)] if done else _stepped(pattern, shown_of, piece)
            pieces = found
        masked = "".join(piece for piece, _ in pieces)
        if mode == "text" and "…" in masked:
            masked = self._uncut(masked)
        if not self.learning:
            self._cache[mode, text] = masked
        return masked

    def _arranged(self, mode: str) -> list[_Step]:
        """Made when they are first wanted: a list of results masks many sessions, and little of each."""
        if mode not in self._steps:
            addresses: _Step = (_ADDRESS, lambda match: self.address(match[0]) or None)
            mac: _Step = (_MAC, lambda match: self.blank(match[0]))
            escaped: _Step = (_ESCAPED, lambda match: self._unescaped(match[0]))
            if mode == "token":
                steps = [escaped, addresses, *self._known()]
            elif mode == "software":
                steps = [escaped, *self._known(), mac]
            else:
                steps = [
                    *self._kept_words(),
                    (_URI, lambda match: self.uri(match[0])),
                    escaped,
                    (_AT_HOST, lambda match: f"{self.user(match[1])}@{self.host(match[2])}"),
                    addresses,
                    *self._known(),
                    *self._extensions(),
                    (_DATE, lambda match: match[0]),
                    mac,
                    (_NUMBER, lambda match: self._number(match[0])),
                ]
            self._steps[mode] = steps
        return self._steps[mode]

    def _known(self) -> list[_Step]:
        """The identities that were learned, names before numbers: the digits of one number are looked for behind those
        that end a name."""
        if self.learning:
            return []
        if self._known_steps is None:
            names = {one for one in self.names if len(one) > 2 and not one.isdigit()}
            short = pattern_of(one for one in self.numbers if len(one) == _LONG_DIGITS - 1)
            found: list[tuple[str, Callable[[re.Match[str]], str | None]]] = [
                (
                    pattern_of(_spellings(self.addresses)),
                    lambda match: self.address(match[0]) or self.blank(match[0]),
                ),
                (pattern_of(one for one in names if len(one) >= _LONG_NAME), lambda match: self._named(match[0])),
                (
                    _alone(pattern_of(one for one in names if len(one) < _LONG_NAME)),
                    lambda match: self._named(match[0]),
                ),
                (_SPREAD_DIGITS, lambda match: self._known_number(match[0])),
                (_alone(short), lambda match: self._number(match[0])),
            ]
            self._known_steps = [(re.compile(pattern, re.IGNORECASE), told) for pattern, told in found if pattern]
        return self._known_steps

    def _extensions(self) -> list[_Step]:
        """Known users of three digits, where a sentence may speak of them."""
        found = "" if self.learning else pattern_of({one for one in self.numbers if len(one) == 3} - self._codes)
        if not found:
            return []
        return [(re.compile(rf"(?<![#\w.])(?:{found}){_AFTER_NUMBER}"), lambda match: self._number(match[0]))]

    def _kept_words(self) -> list[_Step]:
        if self.learning or not self._kept:
            return []
        return [(re.compile(pattern_of(self._kept)), lambda match: self._shown_of_kept(match[0]))]

    def _unescaped(self, text: str) -> str | None:
        """Nothing is left of an escaped word in which an identity is hidden."""
        plain = unquote(text, errors="replace")
        return self.blank(text) if plain != text and self.token(plain) != plain else None

    def _known_number(self, text: str) -> str | None:
        digits = "".join(one for one in text if one.isdigit())
        if digits in self._digits or any(one in digits for one in self._digits):
            return self.hidden(text, "number", digits)
        return None

    def _number(self, text: str) -> str:
        return self.hidden(text, "number", "".join(one for one in text if one.isdigit()))

    def _shown_of_kept(self, text: str) -> str | None:
        by = self._kept.get(text)
        return by(text) if by else None

    def _uncut(self, text: str) -> str:
        """A sentence may hold a value that was cut (`Featherstone…`): the beginning of an identity is hidden, too."""
        at = text.find("…")
        while at >= 0:
            before = text[:at].lower()
            for term in self._terms:
                length = next((n for n in range(len(term) - 1, 2, -1) if before.endswith(term[:n].lower())), 0)
                if length:
                    text = text[: at - length] + mask(text[at - length : at], "text") + text[at:]
                    break
            at = text.find("…", at + 1)
        return text


def _stepped(
    pattern: re.Pattern[str], shown_of: Callable[[re.Match[str]], str | None], text: str
) -> list[tuple[str, bool]]:
    pieces, end = [], 0
    for match in pattern.finditer(text):
        shown = shown_of(match) if match[0] else None
        if shown is not None:
            pieces += [(text[end : match.start()], False), (shown, True)]
            end = match.end()
    pieces.append((text[end:], False))
    return [piece for piece in pieces if piece[0]]


def _alone(pattern: str) -> str:
    """Not inside a word."""
    return rf"(?<![^\W_])(?:{pattern})(?![^\W_])" if pattern else ""


def _spellings(addresses: Collection[str]) -> set[str]:
    """An address as parts of host names and identifiers write it."""
    found = set(addresses)
    for one in addresses:
        address = ip_address(one)
        if address.version == 4:
            parts = one.split(".")
            found |= {sign.join(parts) for sign in "-_"} | {sign.join(reversed(parts)) for sign in ".-"}
        else:
            found |= {address.exploded, address.compressed}
    return found
