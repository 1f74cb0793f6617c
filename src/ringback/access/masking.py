"""What stands for personal data where a reader may not see it: `Principal.sees_personal` says who may.

A mask keeps the length and the punctuation, and of the letters and digits only what tells two parties apart while
somebody is on the phone, never enough to know the person:

    number   12103355787 -> 121xxxxxx87    from 10 digits on the first three and the last two, from 7 the last two
    name     John Doe    -> Jxxx xxx       the first letter of words of four letters and more
    email    j.doe@acme.example -> x.xxx@acme.example
    address  198.51.100.23 -> 198.51.xxx.xx; a postal address has nothing left
    text     nothing is left
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address, ip_address
from itertools import pairwise
from typing import Literal

Kind = Literal["name", "number", "email", "address", "text"]

_FILL = "xyzabcdefghijklmnopqrstuvw"
_LONG_NUMBER, _SHORT_NUMBER = 10, 7  # digits
_LONG_WORD = 4  # letters


def mask(text: str, kind: Kind, nth: int = 0) -> str:
    """`text` with its personal part hidden, the same for the same text, as many characters as `text`.

    `nth`: tells apart what else would look alike, such as two numbers with the same visible digits: `121xxxxxx87`,
    `121xxxxxy87`.
    """
    hidden = hidden_in(text, kind)
    fill = _filler(nth, len(hidden))
    characters = list(text)
    for position, letter in zip(hidden, fill, strict=True):
        characters[position] = letter
    return "".join(characters)


def hidden_in(text: str, kind: Kind) -> list[int]:
    """Positions of the characters that a mask hides, in order."""
    shown = _SHOWN[kind](text)
    return [position for position, one in enumerate(text) if position not in shown and not _is_punctuation(one)]


def _filler(nth: int, length: int) -> str:
    """xxx, xxy, xxz, ...: `nth` written with 26 letters."""
    letters = []
    for _ in range(length):
        nth, letter = divmod(nth, len(_FILL))
        letters.append(_FILL[letter])
    return "".join(reversed(letters))


def _is_punctuation(character: str) -> bool:
    """Whatever is none of the signs that structure a text is hidden: letters and digits of any script, signs, emoji."""
    if character.isascii():
        return not character.isalnum()
    return unicodedata.category(character)[0] in "PZ"


def _shown_of_number(text: str) -> frozenset[int]:
    digits = [position for position, one in enumerate(text) if one.isdigit()]
    if len(digits) < _SHORT_NUMBER:
        return frozenset()
    first = digits[:3] if len(digits) >= _LONG_NUMBER else []
    return frozenset((*first, *digits[-2:]))


def _shown_of_name(text: str) -> frozenset[int]:
    return frozenset(start for start, end in _words(text) if end - start >= _LONG_WORD)


def _words(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of every run of letters without digits beside them."""
    edges = [-1, *(at for at, one in enumerate(text) if _is_punctuation(one)), len(text)]
    for before, end in pairwise(edges):
        if text[before + 1 : end].isalpha():
            yield before + 1, end


def _shown_of_email(text: str) -> frozenset[int]:
    local, at, domain = text.rpartition("@")
    if not at:
        return frozenset()
    return _shown_of_name(local) | frozenset(range(len(text) - len(domain), len(text)))


def _shown_of_address(text: str) -> frozenset[int]:
    """Of an IP address the network: two numbers of IPv4, two groups of IPv6."""
    try:
        address = ip_address(text)
    except ValueError:
        return frozenset()
    mark = ":" if isinstance(address, IPv6Address) else "."
    ends = [at for at, one in enumerate(text) if one == mark]
    if isinstance(address, IPv6Address) and ("::" in text[: ends[1] + 1] or address.ipv4_mapped):
        return frozenset()
    return frozenset(range(ends[1]))


_SHOWN: dict[Kind, Callable[[str], frozenset[int]]] = {
    "name": _shown_of_name,
    "number": _shown_of_number,
    "email": _shown_of_email,
    "address": _shown_of_address,
    "text": lambda _: frozenset(),
}
