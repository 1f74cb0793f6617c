"""Texts as the engine can hold them: a lone surrogate (a byte that was not UTF-8 on the wire) is no Unicode text."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from hashlib import blake2b

# `ignore_above` of indexed values, in UTF-16 units; escaped, a number fits the engine's longest regular expression.
LONGEST, LONGEST_NUMBER = 1024, 400
# Characters, of which each is two units at most: a row with a longer value is `odd`.
USUAL, USUAL_NUMBER = LONGEST // 2, LONGEST_NUMBER // 2
SEPARATOR = "\U0010e001"  # in no stored text
_ESCAPE = "\U0010e000"
_SHIFT = 0x100000  # surrogates D800..DFFF are stored as private characters 10D800..10DFFF
_TO_ESCAPE = re.compile("[\ud800-\udfff\U0010d800-\U0010e001]")
_ESCAPED = re.compile("\U0010e000(.)|[\U0010d800-\U0010dfff]", re.DOTALL)
_FIRST = 0x10D800
_BASE = 0x20


def storable(text: str) -> str:
    """Reversible, character by character: the beginning of a text is stored as the beginning of what is stored."""
    return text if text.isascii() else _TO_ESCAPE.sub(_escaped, text)


def readable(text: str) -> str:
    return text if text.isascii() else _ESCAPED.sub(_unescaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return chr(code + _SHIFT) if code < _FIRST else _ESCAPE + chr(code - _FIRST + _BASE)


def _unescaped(found: re.Match[str]) -> str:
    return chr(ord(found[1]) - _BASE + _FIRST) if found[1] else chr(ord(found[0]) - _SHIFT)


def digest(*parts: str | bytes, size: int = 10) -> str:
    """URL-safe text that stands for the parts; 80 bits keep ten million rows of a day apart for 10^10 days."""
    hash_ = blake2b(digest_size=size)
    for part in parts:
        data = part.encode(errors="surrogatepass") if isinstance(part, str) else part
        hash_.update(len(data).to_bytes(8))
        hash_.update(data)
    return urlsafe_b64encode(hash_.digest()).rstrip(b"=").decode()


def literal(text: str) -> str:
    """As part of a `regexp` query: nothing in it means anything."""
    return re.sub(r'([.?+*|{}\[\]()"\\#@&<>~^$-])', r"\\\1", text)


def wild(text: str) -> str:
    """As part of a `wildcard` query."""
    return re.sub(r"([*?\\])", r"\\\1", text)
