"""What all engines have in common about audit rows: the words of names, and whether a row is what a query asks for."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from ringback.events.store import AuditQuery, AuditRow

LONGEST_WORD = 64  # characters of a word that an index holds
_TOKEN = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Term:
    """A word that a name has to hold; `begins`: as the beginning of one. Longer ones than LONGEST_WORD are cut and begin."""

    word: str
    begins: bool


def words_of(row: AuditRow) -> set[str]:
    """Of its names, as an index holds them."""
    return {word[:LONGEST_WORD] for word in _tokens(_names(row))}


def terms(names: str) -> list[Term]:
    """What an index is asked; it finds all rows that `matches` does, and perhaps more."""
    found = []
    for asked, begins in _asked(names):
        *whole, last = _TOKEN.findall(asked) or [""]
        found += [Term(word[:LONGEST_WORD], len(word) > LONGEST_WORD) for word in whole]
        if last:
            found.append(Term(last[:LONGEST_WORD], begins or len(last) > LONGEST_WORD))
    return found


def matches(query: AuditQuery, row: AuditRow) -> bool:
    """Everything but the interval."""
    among: list[tuple[tuple[str, ...], str]] = [
        (query.environments, row.environment), (query.entity_types, row.entity_type), (query.actions, row.action),
        (query.realms, row.realm),
    ]  # fmt: skip
    if not all(not wanted or found in wanted for wanted, found in among):
        return False
    equal: list[tuple[object, object]] = [
        (query.entity_id or row.entity_id, row.entity_id), (query.kind or row.kind, row.kind),
        (query.actor or row.actor, row.actor), (query.request_id or row.request_id, row.request_id),
    ]  # fmt: skip
    if any(wanted != found for wanted, found in equal):
        return False
    if query.customer_id is not None and query.customer_id != row.customer_id:
        return False
    if query.account_id is not None and query.account_id != row.account_id:
        return False
    if query.personal is not None and query.personal != row.personal:
        return False
    if query.properties and not set(query.properties) & set(row.properties):
        return False
    if query.address.endswith("*"):
        if not row.address.startswith(query.address[:-1]):
            return False
    elif query.address and query.address != row.address:
        return False
    if query.ids and row.id not in query.ids:
        return False
    return _in_amounts(query, row) and _named(query, row)


def _in_amounts(query: AuditQuery, row: AuditRow) -> bool:
    if query.min_amount is None and query.max_amount is None:
        return True
    return (
        row.amount is not None
        and (query.min_amount is None or row.amount >= query.min_amount)
        and (query.max_amount is None or row.amount <= query.max_amount)
    )


def _named(query: AuditQuery, row: AuditRow) -> bool:
    if not query.names.strip():
        return True
    names = _names(row)
    tokens = _tokens(names)
    for asked, begins in _asked(query.names):
        *whole, last = _TOKEN.findall(asked) or [""]
        if not last:
            if asked not in names:  # signs alone, such as --
                return False
            continue
        held = any(token.startswith(last) for token in tokens) if begins else last in tokens
        if not held or not tokens.issuperset(whole):
            return False
    return True


def _asked(names: str) -> list[tuple[str, bool]]:
    """(word, whether it is a beginning)"""
    return [(word.rstrip("*"), word.endswith("*")) for word in _folded(names).split() if word.rstrip("*")]


def _names(row: AuditRow) -> str:
    return _folded("\n".join((row.entity_name, row.customer_name, row.account_name)))


def _tokens(folded: str) -> set[str]:
    return set(_TOKEN.findall(folded))


def _folded(text: str) -> str:
    return text.casefold() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
