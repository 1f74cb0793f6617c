"""A set of words as one regular expression, found wherever they stand in a text."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SHARED = 48  # characters; of longer terms each stands alone, so that the expression nests no deeper

_Node = dict[str, "_Node"]  # a trie: character -> what follows; "" ends a term


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
