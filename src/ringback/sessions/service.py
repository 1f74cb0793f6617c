"""What can be done with sessions: search, count, open, diagnose, export. No HTTP, no files of the store.

Everything is worked out from stored messages when it is asked for; nothing diagnosed is kept, so nothing is stale.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from ringback.events.store import EventStore
from ringback.sessions import opening, search
from ringback.sessions.books import Books
from ringback.sessions.diagnose import Catalogue, diagnose
from ringback.sessions.export import Exported, exported
from ringback.sessions.keys import DEFAULT_RULES, KeyRules
from ringback.sessions.masking import masked_row, masked_session
from ringback.sessions.schemas import (
    Histogram,
    IssueBrief,
    OpenedSession,
    QueryError,
    SearchResult,
    SessionQuery,
    SessionRow,
)
from ringback.sessions.smartbox import Reading
from ringback.sessions.story import NodeInfo

ISSUE_SEARCH_SECONDS = 4.0  # an issue filter diagnoses candidates for this long, then says how far it came
CANDIDATES = 100  # rows read at a time while looking for an issue


class SessionNotFound(LookupError):
    """No leg of that id is stored in the environments asked for."""

    def __init__(self, session_id: str) -> None:
        super().__init__(f"No session {session_id} is stored: it was never seen here, or its retention is over.")


class SessionService:
    """Thread-safe: holds nothing but the store, the catalogue and a way to ask for an environment's node register."""

    def __init__(
        self,
        events: EventStore,
        catalogue: Catalogue,
        nodes: Callable[[str], Sequence[NodeInfo]] = lambda _environment: (),
        rules: KeyRules = DEFAULT_RULES,
        books: Books | None = None,
    ) -> None:
        """`books`: None where nobody knows customers, as in a terminal."""
        self._events = events
        self._catalogue = catalogue
        self._nodes_of_one = nodes
        self._rules = rules
        self._books = books

    def search(self, query: SessionQuery) -> SearchResult:
        """One page, newest first. Raises QueryError, and the store's SearchTimedOut, SegmentUnreadable."""
        nodes = self._nodes(query.environments)
        query, named = self._with_books(query), self._named(query)
        found = self._search_issue if query.issue else self._search_all
        result = found(query, named)
        if not query.personal:
            result.rows = [masked_row(row, nodes) for row in result.rows]
        return result

    def _search_all(self, query: SessionQuery, named: Sequence[Reading]) -> SearchResult:
        return search.page(self._events, query, self._nodes(query.environments), named=named)

    def _with_books(self, query: SessionQuery) -> SessionQuery:
        """With the numbers of the customer and the account that it names."""
        if query.customer is None and query.account is None:
            return query
        if self._books is None or not query.customers:
            field = "customer" if query.customer is not None else "account"
            raise QueryError(field, "you are signed in without the permission to see customers")
        found = [
            self._books.numbers(query.environments, customer_id=customer, account_id=account)
            for customer, account in ((query.customer, None), (None, query.account))
            if customer is not None or account is not None
        ]
        numbers = found[0] if len(found) == 1 else tuple(one for one in found[0] if one in found[1])
        return replace(query, numbers=numbers or search.NOBODY)

    def title(self, kind: str, id_: int, environments: tuple[str, ...], *, personal: bool) -> str:
        """What a customer or an account is called; "" where there is none."""
        return self._books.title(environments, kind, id_, personal=personal) if self._books else ""

    def _named(self, query: SessionQuery) -> list[Reading]:
        """The customers and accounts that the smart box may mean."""
        if self._books is None or not query.customers or not query.q.strip():
            return []
        found = self._books.named(query.environments, query.q.strip(), personal=query.personal)
        return [Reading(one.words, numbers=one.numbers) for one in found]

    def _search_issue(self, query: SessionQuery, named: Sequence[Reading]) -> SearchResult:
        """Diagnoses candidates until the page is full, everything was read, or the time is over (then it says so)."""
        definition = self._catalogue.get(query.issue)
        if definition is None:
            raise QueryError("issue", f"there is no issue {query.issue!r}; the guide lists them")
        deadline = time.monotonic() + ISSUE_SEARCH_SECONDS
        nodes = self._nodes(query.environments)
        found: list[SessionRow] = []
        candidates = replace(query, limit=CANDIDATES)
        while True:
            result = search.page(
                self._events, candidates, nodes, troubled=True if definition.always_troubled else None, named=named
            )
            for count, row in enumerate(result.rows, 1):
                if query.issue in self._diagnose_row(row, personal=query.personal):
                    found.append(row)
                late = time.monotonic() > deadline
                if (len(found) == query.limit or late) and (count < len(result.rows) or result.cursor):
                    cursor = search.cursor_after(result, count)
                    until = row.started_us if late else None
                    return replace(result, rows=found, cursor=cursor, query=query, searched_until_us=until)
            if result.cursor is None:
                return replace(result, rows=found, query=query)
            candidates = replace(candidates, cursor=result.cursor)

    def diagnose_rows(self, rows: Sequence[SessionRow]) -> None:
        """Fill in `issue` of the rows that lack it."""
        for row in rows:
            if not row.diagnosed:
                # What retention took since the search stays undiagnosed.
                with suppress(SessionNotFound):
                    self._diagnose_row(row, personal=not row.masked)

    def _diagnose_row(self, row: SessionRow, *, personal: bool) -> set[str]:
        opened = self.open(row.id, (row.environment,), personal=True)
        row.issue = self._brief(opened, personal=personal)
        row.diagnosed = True
        return {issue.id for issue in opened.issues}

    def primary_issue(
        self, session_id: str, environments: tuple[str, ...], *, personal: bool = False
    ) -> IssueBrief | None:
        """What a list says of a session; None: nothing unusual. Raises SessionNotFound."""
        return self._brief(self.open(session_id, environments, personal=True), personal=personal)

    def _brief(self, opened: OpenedSession, *, personal: bool) -> IssueBrief | None:
        """Most titles name nobody: only those that are filled in have the session masked."""
        if not opened.issues:
            return None
        definition = self._catalogue.get(opened.issues[0].id)
        if not personal and (definition is None or "{" in definition.title):
            opened = masked_session(opened, self._nodes((opened.session.environment,)), self._rules)
        first = opened.issues[0]
        return IssueBrief(first.id, first.severity, first.title)

    def histogram(self, query: SessionQuery, buckets: int = 60) -> Histogram:
        """Sessions begun over the interval, by outcome. An issue filter does not apply to it."""
        query, named = self._with_books(query), self._named(query)
        return search.histogram(self._events, query, self._nodes(query.environments), buckets, named)

    def open(
        self, session_id: str, environments: tuple[str, ...], *, personal: bool = False, customers: bool = False
    ) -> OpenedSession:
        """The whole story of a session. Raises SessionNotFound.

        `personal`: whoever is shown it may see personal data; else it is masked, after it was diagnosed.
        `customers`: and may see customers: the accounts behind its numbers are told.
        """
        nodes = self._nodes(environments)
        session = opening.open_session(self._events, session_id, environments, nodes, self._rules)
        if session is None:
            raise SessionNotFound(session_id)
        opened = OpenedSession(session_id, session, diagnose(session, self._catalogue))
        if self._books is not None and (customers or not personal):
            opened.whose = self._books.whose(session)
        if not personal:  # the customers' names, too, are to be found wherever they stand
            opened = masked_session(opened, nodes, self._rules)
        return opened if customers else replace(opened, whose=[])

    def _nodes(self, environments: Sequence[str]) -> list[NodeInfo]:
        """Names are of the reader's environments: another tenant's register names nothing here."""
        return [node for each in environments for node in self._nodes_of_one(each)]

    def export(self, opened: OpenedSession, format_: str) -> Exported:
        """The session as a file: pcap, text, json, svg or classic. Raises QueryError for another format."""
        return exported(opened, format_)
