"""The search of the audit log as its URL holds it: read into a query, written back as links. Page, API and exports read the
same parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from ringback import clock
from ringback.audit.catalogue import messages
from ringback.billing.entities.models import TYPES
from ringback.changes.schemas import REALMS
from ringback.events.store import AuditQuery
from ringback.records.money import to_units

DAY_US = 86_400_000_000
PRESETS: dict[str, tuple[str, int]] = {
    "1h": ("1 h", DAY_US // 24), "24h": ("24 h", DAY_US), "7d": ("7 days", 7 * DAY_US), "30d": ("30 days", 30 * DAY_US),
    "180d": ("180 days", 180 * DAY_US),
}  # fmt: skip
DEFAULT = "30d"
SEVERAL = ("type", "action", "property", "realm")  # that may be given more than once
ONE = ("id", "name", "kind", "user", "ip", "request", "customer", "account", "min", "max", "personal")
LABELS = {
    "type": "Type", "action": "Action", "property": "Property", "realm": "Way in", "id": "Id", "name": "Name",
    "kind": "Kind", "user": "User", "ip": "Address", "request": "Request", "customer": "Customer", "account": "Account",
    "min": "Amount from", "max": "Amount to", "personal": "Personal data",
}  # fmt: skip
_LONGEST = 255

Pairs = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Chip:
    """One filter in force; `without`: the same search without it."""

    label: str
    value: str
    without: str


@dataclass(slots=True)
class Asked:
    """`values` as they were given; `query` is None while something is wrong with them (`errors`, by parameter)."""

    start_us: int
    end_us: int
    preset: str  # "" where two moments were picked
    values: dict[str, list[str]]
    errors: dict[str, str] = field(default_factory=dict)
    query: AuditQuery | None = None

    def value(self, name: str) -> str:
        found = self.values.get(name)
        return found[0] if found else ""

    def has(self, name: str, value: str) -> bool:
        return value in self.values.get(name, ())

    def interval(self) -> Pairs:
        if self.preset:
            return [] if self.preset == DEFAULT else [("last", self.preset)]
        return [("from", clock.isoformat(self.start_us)), ("to", clock.isoformat(self.end_us))]

    def pairs(self) -> Pairs:
        """As the URL holds it."""
        filters = [(name, value) for name in (*SEVERAL, *ONE) for value in self.values.get(name, ())]
        return [*self.interval(), *filters]

    def url(self, path: str = "/audit", *more: tuple[str, str]) -> str:
        pairs = [*self.pairs(), *more]
        return f"{path}?{urlencode(pairs)}" if pairs else path

    def later_url(self, cursor: str) -> str:
        """The next page; of the same interval, whenever it is opened."""
        filters = self.pairs()[len(self.interval()) :]
        moments = [("from", clock.isoformat(self.start_us)), ("to", clock.isoformat(self.end_us))]
        return f"/audit?{urlencode([*moments, *filters, ('cursor', cursor)])}"

    def preset_url(self, name: str) -> str:
        filters = [pair for pair in self.pairs() if pair not in self.interval()]
        return f"/audit?{urlencode([('last', name), *filters])}"

    def chips(self) -> list[Chip]:
        found = []
        for name in (*SEVERAL, *ONE):
            for value in self.values.get(name, ()):
                rest = [pair for pair in self.pairs() if pair != (name, value)]
                found.append(Chip(LABELS[name], value, f"/audit?{urlencode(rest)}" if rest else "/audit"))
        return found

    def told(self) -> dict[str, str]:
        """For the record that somebody asked this."""
        return {name: ", ".join(values) for name, values in self.values.items()} | dict(self.interval())


def read(parameters: Iterable[tuple[str, str]], tz: ZoneInfo, now_us: int, environments: Sequence[str]) -> Asked:
    """Empty parameters are none; unknown ones are left to others."""
    given: dict[str, list[str]] = {}
    for name, value in parameters:
        if value.strip():
            given.setdefault(name, []).append(value.strip()[:_LONGEST])
    values = {name: given[name] if name in SEVERAL else given[name][:1] for name in (*SEVERAL, *ONE) if name in given}
    asked = Asked(now_us - PRESETS[DEFAULT][1], now_us, DEFAULT, values)
    _read_interval(asked, given, tz, now_us)
    whole = {name: _whole(asked, name) for name in ("customer", "account")}
    amounts = {name: _amount(asked, name) for name in ("min", "max")}
    for name, allowed in (("kind", ("change", "read")), ("realm", REALMS), ("personal", ("yes", "no"))):
        for value in values.get(name, ()):
            if value not in allowed:
                asked.errors[name] = f"“{value}” is none of {', '.join(allowed)}"
    if asked.errors:
        return asked
    asked.query = AuditQuery(
        environments=tuple(environments),
        start_us=asked.start_us,
        end_us=asked.end_us,
        entity_types=tuple(values.get("type", ())),
        entity_id=asked.value("id"),
        names=asked.value("name"),
        actions=tuple(values.get("action", ())),
        kind=asked.value("kind"),
        properties=tuple(values.get("property", ())),
        realms=tuple(values.get("realm", ())),
        actor=asked.value("user"),
        address=asked.value("ip"),
        request_id=asked.value("request"),
        customer_id=whole["customer"],
        account_id=whole["account"],
        min_amount=amounts["min"],
        max_amount=amounts["max"],
        personal={"yes": True, "no": False}.get(asked.value("personal")),
    )
    return asked


def type_choices() -> list[tuple[str, str]]:
    """(key, words) of the types that can be asked for: entities, and what else is told of."""
    named = {name: each.about.label for name, each in TYPES.items()}
    named |= {name: label for name, label in messages().types.items() if f"{name}s" in messages().types}
    return sorted(named.items(), key=lambda pair: pair[1].casefold())


def property_choices() -> list[tuple[str, str]]:
    """(name, label) of every property that an entity has."""
    labels: dict[str, set[str]] = {}
    for each in TYPES.values():
        for one in each.fields:
            labels.setdefault(one.name, set()).add(one.label)
    return sorted(((name, sorted(found)[0]) for name, found in labels.items()), key=lambda pair: pair[1].casefold())


def _read_interval(asked: Asked, given: dict[str, list[str]], tz: ZoneInfo, now_us: int) -> None:
    if "from" in given or "to" in given:
        asked.preset = ""
        asked.end_us = _moment(asked, "to", given["to"][0], tz) if "to" in given else now_us
        asked.start_us = (
            _moment(asked, "from", given["from"][0], tz) if "from" in given else asked.end_us - 30 * DAY_US
        )
        if not asked.errors and asked.start_us >= asked.end_us:
            asked.errors["from"] = "the interval must begin before it ends"
        return
    name = given.get("last", [DEFAULT])[0]
    if name not in PRESETS:
        asked.errors["last"] = f"“{name}” is none of {', '.join(PRESETS)}"
        return
    asked.preset, asked.start_us = name, now_us - PRESETS[name][1]


def _moment(asked: Asked, name: str, text: str, tz: ZoneInfo) -> int:
    """RFC 3339; without a zone it is the viewer's."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=tz)
        return clock.to_us(moment.astimezone(UTC))
    except (ValueError, OverflowError):
        asked.errors[name] = f"“{text}” is no time, such as 2026-11-22T14:00 or 2026-11-22T14:00:00Z"
        return 0


def _whole(asked: Asked, name: str) -> int | None:
    text = asked.value(name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        asked.errors[name] = (
            f"“{text}” is no id of {'a customer' if name == 'customer' else 'an account'}: a whole number"
        )
        return None
    return int(text)


def _amount(asked: Asked, name: str) -> int | None:
    text = asked.value(name)
    if not text:
        return None
    try:
        return to_units(Decimal(text))
    except (InvalidOperation, ValueError):
        asked.errors[name] = f"“{text}” is no amount, such as 60.00"
        return None
