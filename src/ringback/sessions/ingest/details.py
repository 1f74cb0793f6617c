"""What ingest reads of a message beyond its first line: numbers in every role, parties, correlation keys.

Only a few messages of a leg are read this far (its first requests, transfers), and of those only the header lines with
an interesting name. Sources: RFC 3261 section 20, 3325 (asserted identity), 5806 (Diversion), 7044 (History-Info).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from ringback.events.store import Role
from ringback.sessions.capture.address import split_outside
from ringback.sessions.capture.sip import COMPACT_NAMES
from ringback.sessions.keys import DEFAULT_RULES, KeyRules, headers_with_keys, keys_with_reasons
from ringback.sessions.numbers import digits

_MOST_NUMBERS = 32  # of one message
_LONGEST_NUMBER = 64
_ANONYMOUS = frozenset({"", "anonymous", "restricted", "unavailable", "private", "unknown"})
_REQUEST_URI, _AUTH_USER = int(Role.REQUEST_URI), int(Role.AUTH_USER)
# Plain integers: or-ing flags costs ten times as much.
_ROLES = {name: int(role) for name, role in {
    "from": Role.FROM, "to": Role.TO, "contact": Role.CONTACT, "p-asserted-identity": Role.ASSERTED,
    "p-preferred-identity": Role.ASSERTED, "remote-party-id": Role.REMOTE_PARTY, "diversion": Role.DIVERSION,
    "history-info": Role.HISTORY,
}.items()}  # fmt: skip
_VOUCHING = ("p-asserted-identity", "remote-party-id", "p-preferred-identity")
_USERNAME = re.compile(r'\busername="([^"@]*)', re.IGNORECASE)
_ZERO_EXPIRES = re.compile(r";\s*expires\s*=\s*0+\b", re.IGNORECASE)
_ANY_EXPIRES = re.compile(r";\s*expires\s*=", re.IGNORECASE)
_CREDENTIALS = frozenset({"authorization", "proxy-authorization"})
_READ = {*_ROLES, *_CREDENTIALS, "expires", "reason"}
_FOLD = re.compile(r"\r?\n[ \t]+")


@dataclass(slots=True)
class Details:
    """`numbers`: digits or lower-case user -> Role bits. `removes`: a REGISTER that asks to expire at once."""

    method: str
    caller: str
    called: str
    numbers: dict[str, int]
    keys: set[str]
    in_dialog: bool  # To carries a tag
    credentials: bool
    removes: bool
    reason: str


class DetailReader:
    """Reads the details of messages by one set of key rules."""

    def __init__(self, rules: KeyRules = DEFAULT_RULES) -> None:
        self._rules = rules
        self._wanted = headers_with_keys(rules) | _READ
        self._names: dict[str, str] = {}  # a name as written -> canonical, "" where it is of no interest
        rare = sorted(self._wanted - {"from", "to", "contact", "expires", "reason"})
        spellings = {spelling for name in rare for spelling in (name, name.title(), _usual(name))}
        self._telling = re.compile(
            b"\n(?:" + b"|".join(re.escape(each.encode()) for each in sorted(spellings)) + b"):"
        )

    def tells_more(self, payload: bytes) -> bool:
        """Whether a header beyond From, To and Contact is there to be read, in one of its usual spellings.

        It spares the reading of a request that a proxy only passed on.
        """
        return self._telling.search(payload) is not None

    def __call__(self, payload: bytes, call_id: str, first_line: str, correlation: str = "") -> Details:
        """`payload` begins a SIP message as `scan` found it; `first_line` is its start line."""
        head, body = _split(payload)
        headers = self._headers(head)
        method, uri = "", ""
        if not first_line.startswith("SIP/2.0 "):
            method, _, rest = first_line.partition(" ")
            uri = rest.rpartition(" ")[0]
        keyed = []  # what correlation keys are read from
        numbers: dict[str, int] = {}
        users: dict[str, str] = {}  # canonical header name -> user of its first address
        to = contacts = expires = reason = ""
        credentials = False
        for name, value in headers:
            role = _ROLES.get(name)
            if role is not None:
                for each in (value,) if "," not in value else split_outside(value, ","):
                    user = user_of(each)
                    users.setdefault(name, user)
                    if user:
                        _note(numbers, user, role)
                if name == "to":
                    to = value
                elif name == "contact":
                    contacts += "," + value
            elif name in _CREDENTIALS:
                credentials = True
                if username := _USERNAME.search(value):
                    _note(numbers, username[1], _AUTH_USER)
            elif name == "expires":
                expires = value
            elif name == "reason":
                reason = reason or value
            else:
                keyed.append((name, value))
        if method == "REFER":
            keyed = headers
        in_dialog = ";tag=" in to or ";tag =" in to
        target = user_of(uri) if uri else ""
        if target:
            _note(numbers, target, _REQUEST_URI)
        called = "" if method == "REGISTER" or in_dialog else target
        return Details(
            method=method,
            caller=_caller(users, headers),
            called=called or users.get("to") or _host_of(to),
            numbers=numbers,
            keys=set(
                keys_with_reasons(
                    call_id,
                    keyed,
                    method=method,
                    request_uri=uri,
                    body=body,
                    correlation=correlation,
                    rules=self._rules,
                )
            ),
            in_dialog=in_dialog,
            credentials=credentials,
            removes=method == "REGISTER" and _removes(contacts[1:], expires),
            reason=reason,
        )

    def _headers(self, head: str) -> list[tuple[str, str]]:
        if "\n " in head or "\n\t" in head:
            head = _FOLD.sub(" ", head)
        known = self._names
        lines = [line.partition(":") for line in head.split("\n")]
        for name, _, _ in lines:
            if name not in known:
                self._learn(name)
        return [(known[name], value.strip()) for name, _, value in lines if known.get(name) and value]

    def _learn(self, name: str) -> None:
        canonical = name.strip().lower()
        canonical = COMPACT_NAMES.get(canonical, canonical)
        if canonical not in self._wanted:
            canonical = ""
        if len(self._names) >= 4096:  # someone invents names
            self._names.clear()
        self._names[name] = canonical


def _usual(name: str) -> str:
    """``p-charging-vector`` -> ``P-Charging-Vector``, ``x-cid`` -> ``X-CID``."""
    words = (word.upper() if word in ("id", "cid", "guid") else word.capitalize() for word in name.split("-"))
    return "-".join(words)


def text_of(data: bytes) -> str:
    """UTF-8 as SIP says; what is none is read as Latin-1, as the whole parse does."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def user_of(value: str) -> str:
    """The user part of an address header's value or a URI, decoded, without parameters; "" where there is none."""
    start = value.rfind("<") + 1
    colon = value.find(":", start)
    if colon < 0:
        return ""
    close = value.find(">", colon) if start else -1
    at = value.find("@", colon, close if close >= 0 else len(value))
    if at >= 0:
        user = value[colon + 1 : at]
    elif value[start:colon].strip().lower() == "tel":
        user = value[colon + 1 : close if close >= 0 else len(value)]
    else:
        return ""
    if ";" in user or ":" in user:
        user = user.partition(";")[0].partition(":")[0]
    return unquote(user) if "%" in user else user


def _note(numbers: dict[str, int], user: str, role: int) -> None:
    word = digits(user)
    if word in _ANONYMOUS or len(word) > _LONGEST_NUMBER:
        return
    if word in numbers:
        numbers[word] |= role
    elif len(numbers) < _MOST_NUMBERS:
        numbers[word] = role


def _caller(users: dict[str, str], headers: list[tuple[str, str]]) -> str:
    """The user of From, of who vouches for it where From hides it."""
    sender = users.get("from", "")
    if sender.lower() not in _ANONYMOUS:
        return sender
    for name in _VOUCHING:
        if users.get(name, "").lower() not in _ANONYMOUS:
            return users[name]
    return "anonymous" if sender else _host_of(next((value for name, value in headers if name == "from"), ""))


def _host_of(value: str) -> str:
    """The host of an address header's value, as good as it can be had of a broken one."""
    uri = value[value.rfind("<") + 1 :].partition(">")[0].partition(":")[2].rpartition("@")[2]
    if uri.startswith("["):
        return uri[1:].partition("]")[0]
    return re.split(r"[:;?]", uri, maxsplit=1)[0]


def _removes(contacts: str, expires: str) -> bool:
    """RFC 3261 section 10.2.2: every Contact asks to expire at once."""
    if not contacts:
        return False
    if contacts == "*":
        return True
    default = expires.strip() == "0"
    return all(
        bool(_ZERO_EXPIRES.search(each)) or (default and not _ANY_EXPIRES.search(each))
        for each in split_outside(contacts, ",")
    )


def _split(payload: bytes) -> tuple[str, bytes]:
    blank = payload.find(b"\r\n\r\n")
    size = 4
    if blank < 0:
        blank, size = payload.find(b"\n\n"), 2
    if blank < 0:
        return text_of(payload), b""
    return text_of(payload[:blank]), payload[blank + size :]
