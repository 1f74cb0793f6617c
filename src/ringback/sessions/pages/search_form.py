"""The search as its URL holds it: read into a query, shown as chips, written back as links."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from ringback.sessions.pages import interval
from ringback.sessions.pages.interval import Interval
from ringback.sessions.pages.words import KIND_WORDS, outcome_word
from ringback.sessions.schemas import OUTCOMES, QueryError, SessionQuery

PAGE = 50
MOST_ROWS = 500  # that one page may be asked for at once

Pairs = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Chip:
    """One filter in force."""

    label: str
    value: str
    without: str  # URL of the same search without it


@dataclass(slots=True)
class SearchForm:
    """`values` are what the person asked for, as text; `query` is None while something in it is wrong (`errors`)."""

    interval: Interval
    values: dict[str, list[str]]
    errors: dict[str, str] = field(default_factory=dict)
    query: SessionQuery | None = None

    def value(self, name: str) -> str:
        found = self.values.get(name)
        return found[0] if found else ""

    def chosen(self, name: str) -> list[str]:
        return self.values.get(name, [])

    def pairs(self, leave_out: Iterable[str] = (), fixed: bool = False) -> Pairs:
        """The URL's parameters but for the cursor; `fixed` names the interval's moments instead of "the last hour"."""
        left_out = set(leave_out)
        when = self.interval.fixed() if fixed else self.interval.parameters()
        pairs = [] if "interval" in left_out else when
        pairs += [(name, text) for name in _FILTERS for text in self.chosen(name) if name not in left_out]
        return pairs

    def url(self, *more: tuple[str, str], leave_out: Iterable[str] = (), fixed: bool = False) -> str:
        return "/sessions?" + urlencode(self.pairs(leave_out, fixed) + list(more))

    def zoomed(self, start_us: int, end_us: int) -> str:
        return self.url(*Interval(start_us, end_us, "").fixed(), leave_out=("interval",))

    def wider(self) -> tuple[str, str] | None:
        """(text, URL) of the same search over the next longer preset; None when it is the longest already."""
        name = self.interval.longer()
        if not name:
            return None
        return f"Search the last {interval.PRESETS[name][0]}", self.url(("last", name), leave_out=("interval",))

    def chips(self, titles: Mapping[tuple[str, str], str] = MappingProxyType({})) -> list[Chip]:
        """`titles`: (filter, its value) -> what that is called."""
        chips = []
        for name in _FILTERS[1:]:
            for text in self.chosen(name):
                label, say = _SHOWN[name]
                rest = [pair for pair in self.pairs() if pair != (name, text)]
                value = titles.get((name, text)) or say(text)
                chips.append(Chip(label, value, "/sessions?" + urlencode(rest)))
        return chips


_FILTERS = (
    "q", "number", "call_id", "customer", "account", "outcome", "issue", "node", "ip", "code", "kind", "min", "max",
)  # fmt: skip
_SHOWN: dict[str, tuple[str, Callable[[str], str]]] = {
    "number": ("number", str),
    "call_id": ("Call-ID", str),
    "customer": ("customer", lambda text: f"#{text}"),
    "account": ("account", lambda text: f"#{text}"),
    "outcome": ("outcome", lambda text: outcome_word(text).text.lower()),
    "issue": ("issue", str),
    "node": ("node", str),
    "ip": ("address", str),
    "code": ("code", str),
    "kind": ("kind", lambda text: KIND_WORDS.get(text, text).lower()),
    "min": ("talked at least", lambda text: f"{text} s"),
    "max": ("talked at most", lambda text: f"{text} s"),
}


def read(
    parameters: Iterable[tuple[str, str]],
    tz: ZoneInfo,
    now_us: int,
    environments: tuple[str, ...],
    *,
    personal: bool = False,
    customers: bool = False,
) -> SearchForm:
    """Never raises: what is wrong is told by field in `errors`."""
    values: dict[str, list[str]] = {}
    for name, text in parameters:
        stripped = text.strip()
        if stripped and stripped not in values.setdefault(name, []):
            values[name].append(stripped)
    # Codes may be typed as "403, 404".
    if "code" in values:
        values["code"] = [part for text in values["code"] for part in text.replace(",", " ").split()]
    form = SearchForm(interval.preset(interval.DEFAULT, now_us), values)
    try:
        form.interval = _interval(form, tz, now_us)
    except QueryError as error:
        form.errors[error.field] = error.reason
    checks: dict[str, Callable[[], object]] = {
        "outcome": lambda: _known("outcome", form.chosen("outcome"), OUTCOMES),
        "kind": lambda: _known("kind", form.chosen("kind"), tuple(KIND_WORDS)),
        "code": lambda: [_code(text) for text in form.chosen("code")],
        "customer": lambda: _id("customer", form.value("customer")),
        "account": lambda: _id("account", form.value("account")),
        "min": lambda: _seconds("min", form.value("min")),
        "max": lambda: _seconds("max", form.value("max")),
        "limit": lambda: _limit(form.value("limit")),
    }
    for check in checks.values():
        try:
            check()
        except QueryError as error:
            form.errors[error.field] = error.reason
    if not form.errors:
        form.query = _query(form, environments, personal=personal, customers=customers)
    return form


def _interval(form: SearchForm, tz: ZoneInfo, now_us: int) -> Interval:
    if form.value("from") or form.value("to"):
        return interval.picked(form.value("from"), form.value("to"), tz, now_us)
    return interval.preset(form.value("last") or interval.DEFAULT, now_us)


def _query(form: SearchForm, environments: tuple[str, ...], *, personal: bool, customers: bool) -> SessionQuery:
    return SessionQuery(
        start_us=form.interval.start_us,
        end_us=form.interval.end_us,
        q=form.value("q"),
        number=form.value("number"),
        call_id=form.value("call_id"),
        outcomes=tuple(form.chosen("outcome")),
        issue=form.value("issue"),
        node=form.value("node"),
        ip=form.value("ip"),
        codes=tuple(_code(text) for text in form.chosen("code")),
        kinds=tuple(form.chosen("kind")),
        min_duration_s=_seconds("min", form.value("min")),
        max_duration_s=_seconds("max", form.value("max")),
        customer=_id("customer", form.value("customer")),
        account=_id("account", form.value("account")),
        environments=environments,
        personal=personal,
        customers=customers,
        limit=_limit(form.value("limit")),
        cursor=form.value("cursor") or None,
    )


def uncounted(query: SessionQuery) -> SessionQuery:
    """The query of the histogram, which no page or cursor narrows."""
    return replace(query, limit=PAGE, cursor=None)


def _known(name: str, texts: list[str], allowed: tuple[str, ...]) -> None:
    for text in texts:
        if text not in allowed:
            raise QueryError(name, f"“{text}” is none of {', '.join(allowed)}")


def _code(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 100 <= int(text) <= 699):
        raise QueryError("code", f"“{text}” is no SIP response code (100 to 699)")
    return int(text)


def _id(name: str, text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text[:16]) > 0 and len(text) < 16):
        raise QueryError(name, f"“{text}” is no id of {'a customer' if name == 'customer' else 'an account'}")
    return int(text)


def _seconds(name: str, text: str) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e7:
        raise QueryError(name, f"“{text}” is no number of seconds")
    return seconds


def _limit(text: str) -> int:
    if not text:
        return PAGE
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_ROWS):
        raise QueryError("limit", f"“{text}” is no number of rows from 1 to {MOST_ROWS}")
    return int(text)
