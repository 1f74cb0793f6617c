"""A set of words as one regular expression, found wherever they stand in a text; and the names that billing logs tell."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SHARED = 48  # characters; of longer terms each stands alone, so that the expression nests no deeper

_CUSTOMERS = (
    re.compile(r"its customer is (.+), its product "),  # as our own engine writes it
    re.compile(
        r"""\b(?i:customer|subscriber|client|owner|holder|user|caller)(?i:\s+name)?\s*(?:\bis\b|[:=])?\s*
        (?:["“”'«](?P<quoted>[^"“”'»]{2,120})["“”'»]|(?P<plain>[^\W\d_a-z][^,;.:()"“”]{1,119}))""",
        re.VERBOSE,
    ),
)

_Node = dict[str, "_Node"]  # a trie: character -> what follows; "" ends a term


def customers_in(text: str) -> list[str]:
    """Names behind words such as "customer": in quotes, or with a capital letter up to the next sign. Rather one too many."""
    own, others = _CUSTOMERS
    found = [match[1] for match in own.finditer(text)]
    found += [match["quoted"] or match["plain"] for match in others.finditer(text)]
    return [name.strip() for name in found]


def pattern_of(terms: Iterable[str]) -> str:
    """Matches the longest of the terms that begins somewhere; "" for no terms. Of a space any white space is one."""
    root: _Node = {}
    alone = []
    for term in sorted({re.sub(r"\s+", " ", term) for term in terms if term}, key=lambda one: (-len(one), one)):
        if len(term) > _SHARED:
            alone.append("".join(map(_character, term)))
            continue
        node = root
        for character in term:
            node = node.setdefault(character, {})
        node[""] = {}
    return "|".join([*alone, *([_written(root)] if root else [])])


def _written(node: _Node) -> str:
    ways = [_character(key) + _following(child) for key, child in node.items() if key]
    return ways[0] if len(ways) == 1 else f"(?:{'|'.join(ways)})"


def _following(node: _Node) -> str:
    if not any(node):
        return ""
    rest = _written(node)
    return f"(?:{rest})?" if "" in node else rest


def _character(one: str) -> str:
    return r"\s+" if one == " " else re.escape(one)
