"""What sessions ask of the books: whose a number is, and which numbers are somebody's. Nothing is kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import Engine

from ringback.billing.entities import numbers as known
from ringback.billing.entities.errors import EntityNotFound
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.personal import masked
from ringback.billing.entities.queries import find
from ringback.billing.entities.whose import Whose
from ringback.records.engine import reading
from ringback.sessions.billing_log import KIND, OWN_ENGINE
from ringback.sessions.diagnose.facts.authentication import credentials_of
from ringback.sessions.numbers import digits
from ringback.sessions.story import Session

NATIONAL_DIGITS = 10  # what is left of a number whose country code a node leaves out
MOST_NAMES = 40  # of one session that are looked up


@dataclass(frozen=True, slots=True)
class Named:
    """A customer or an account that a search may mean, with its numbers as sessions have them."""

    words: str  # `customer John Doe, 3 numbers`
    numbers: tuple[str, ...]


class Books:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def whose(self, session: Session) -> list[Whose]:
        """The accounts behind the numbers and logins of a session; unmasked. One query."""
        names, ids = _names_in(session), _accounts_in(session)
        if not names and not ids:
            return []
        with reading(self._engine, (session.environment,)) as work:
            found = known.whose(work, names, ids)
        # A number that is an account's own says more than that the billing log names the account.
        own = {one.account_id for one in found if one.name in names}
        return [one for one in found if one.name in names or one.account_id not in own]

    def numbers(
        self, environments: tuple[str, ...], *, customer_id: int | None = None, account_id: int | None = None
    ) -> tuple[str, ...]:
        """As sessions have them; empty where there is no such customer or account, or it has none."""
        with reading(self._engine, environments) as work:
            return _spellings(known.numbers_of(work, customer_id=customer_id, account_id=account_id))

    def named(self, environments: tuple[str, ...], text: str, *, personal: bool) -> list[Named]:
        """The customers of that name, and the account of that id where it has other numbers too."""
        found = []
        with reading(self._engine, environments) as work:
            for one in known.whose(work, [text, digits(text)]):
                own = known.numbers_of(work, account_id=one.account_id)
                found.append(Named(f"account {text}, {_counted(own)}", _spellings(own)))
            if any(letter.isalpha() for letter in text):
                for customer in known.customers_named(work, text, sees_personal=personal):
                    own = known.numbers_of(work, customer_id=customer.id)
                    name = customer.name if personal else text
                    found.append(Named(f"customer {name}, {_counted(own)}", _spellings(own)))
        return [one for one in found if one.numbers]

    def title(self, environments: tuple[str, ...], kind: str, id_: int, *, personal: bool) -> str:
        """What a customer or an account is called; "" where there is none."""
        entity = TYPES[kind]
        with reading(self._engine, environments) as work:
            try:
                name = str(find(work, entity, id_).told_as())
            except EntityNotFound:
                return ""
        return name if personal else str(masked(entity[entity.about.title], name))


def _counted(numbers: Collection[str]) -> str:
    return "1 number" if len(numbers) == 1 else f"{len(numbers)} numbers"


def _spellings(names: Iterable[str]) -> tuple[str, ...]:
    """In the form in which sessions keep numbers, and without the country code."""
    found: dict[str, None] = {}
    for name in map(digits, names):
        found[name] = None
        if name.isdigit() and len(name) > NATIONAL_DIGITS:
            found[name[-NATIONAL_DIGITS:]] = None
    return tuple(name for name in found if name)


def _names_in(session: Session) -> list[str]:
    """Numbers and logins of the parties, as they were written and as digits."""
    found: dict[str, None] = {}

    def add(name: str) -> None:
        for spelling in (name, digits(name)):
            if spelling and spelling.lower() != "anonymous" and len(found) < MOST_NAMES:
                found[spelling] = None

    for leg in session.legs:
        add(leg.caller)
        add(leg.called)
    for arrow in session.arrows:
        if not arrow.sip.is_request or arrow.is_retransmission or len(found) >= MOST_NAMES:
            continue
        for header in ("from", "p-asserted-identity", "diversion"):
            for one in arrow.sip.addresses(header):
                add(one.uri.user)
        for credentials in credentials_of(arrow):
            add(credentials.username.partition("@")[0])
    return list(found)


def _accounts_in(session: Session) -> list[int]:
    """That our own billing engine names in its log: of other engines the ids are not ours."""
    found: dict[int, None] = {}
    for entry in session.entries:
        if entry.kind == KIND and entry.log and entry.log.fields.get("engine") == OWN_ENGINE:
            id_ = entry.log.fields.get("i_account", "")
            if id_.isascii() and id_.isdecimal() and len(id_) < 16:
                found[int(id_)] = None
    return list(found)
