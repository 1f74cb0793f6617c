"""Correlation keys: what a message says about which other legs belong to the same session.

Two legs that share a key belong together, and a key ``cid:X`` names the leg whose Call-ID is X. Ingest stores a leg's
keys, correlation reads them from the messages again with the reason of each: both call the same functions here.

    cid:<Call-ID>        X-CID and the like, a Call-ID suffix convention, HEP correlation id, Replaces (RFC 3891),
                         Join (RFC 3911), In-Reply-To, Target-Dialog (RFC 4538), Refer-To with Replaces
    session-id:<uuid>    either half of Session-ID (RFC 7989)
    icid:<value>         P-Charging-Vector (RFC 7315 section 5.6)
    conf:<id>            the billing session: Cisco-GUID, h323-conf-id
    refer:<who>><whom>   a REFER and the INVITE it caused (Referred-By, RFC 3892)
    o:<session id>       SDP origin (RFC 8866 section 5.2): evidence only, two parties may use the same
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

from ringback.sessions.capture.sip import SipMessage
from ringback.sessions.numbers import digits

UNCERTAIN = "o:"  # keys that begin with this are evidence, not proof
_NIL_UUID = "0" * 32
_LONGEST = 256  # a key beyond this is no identifier
_REFERRED = re.compile(r"<?\s*(?:sips?|tel):(?P<uri>[^>;?\s]+)[^>?]*(?:\?(?P<headers>[^>]*))?", re.IGNORECASE)
_ORIGIN = re.compile(rb"(?:^|\n)o=\S+ (\d{7,20}) ")
_COMMON_ORIGINS = frozenset({b"53655765"})  # sipp writes the same one into every call
_GUID = re.compile(r"(\d{1,10})-(\d{1,10})-(\d{1,10})-(\d{1,10})")
_HEX_GUID = re.compile(r"[0-9a-f]{32}")


class KeyRulesError(ValueError):
    """A file of rules that cannot be used: the place and the reason."""


@dataclass(frozen=True, slots=True)
class KeyRules:
    """What differs between installations.

    `leg_headers`: lower-case header name -> pattern whose first group (or whole match) is another leg's Call-ID.
    `suffixes`: what a B2BUA appends to a Call-ID; dropped, it leaves the base that the legs share.
    `conf_headers`: headers that carry the billing session id.
    """

    leg_headers: Mapping[str, re.Pattern[str]]
    suffixes: tuple[re.Pattern[str], ...]
    conf_headers: frozenset[str]


_WHOLE = re.compile(r"[^\s;,]+")
DEFAULT_RULES = KeyRules(
    leg_headers={"x-cid": _WHOLE, "x-call-id": _WHOLE},
    suffixes=tuple(re.compile(each) for each in (r"_b2b-\d+$", r"_pbx-\d+$", r"~\d+o$")),
    conf_headers=frozenset({"cisco-guid", "h323-conf-id"}),
)
_RFC_HEADERS = frozenset(
    {
        "session-id", "p-charging-vector", "replaces", "join", "in-reply-to", "target-dialog", "refer-to", "referred-by",
    }
)  # fmt: skip


def load_rules(path: Path | None) -> KeyRules:
    """The defaults with what a TOML file (None: nothing) adds to them. Raises KeyRulesError.

    headers = { "X-Orig-Call" = "callid=([^;]+)", "X-Leg" = "" }   # "" takes the whole value
    suffixes = ["_leg\\\\d$"]
    conf_headers = ["X-Conf-ID"]
    """
    if path is None:
        return DEFAULT_RULES
    try:
        table = tomllib.loads(path.read_text())
        headers = {
            str(name).lower(): re.compile(text) if text else _WHOLE for name, text in table.pop("headers", {}).items()
        }
        suffixes = tuple(re.compile(text) for text in table.pop("suffixes", []))
        conf_headers = {str(name).lower() for name in table.pop("conf_headers", [])}
    except (OSError, tomllib.TOMLDecodeError, re.error, AttributeError, TypeError) as error:
        raise KeyRulesError(f"{path}: {error}") from error
    if table:
        raise KeyRulesError(
            f"{path}: unknown setting {', '.join(sorted(table))}; known: headers, suffixes, conf_headers"
        )
    return KeyRules(
        {**DEFAULT_RULES.leg_headers, **headers},
        DEFAULT_RULES.suffixes + suffixes,
        DEFAULT_RULES.conf_headers | conf_headers,
    )


def headers_with_keys(rules: KeyRules = DEFAULT_RULES) -> frozenset[str]:
    """Lower-case names of the headers that `keys_with_reasons` looks at."""
    return _RFC_HEADERS | frozenset(rules.leg_headers) | rules.conf_headers


def correlation_keys(message: SipMessage, correlation: str = "", rules: KeyRules = DEFAULT_RULES) -> dict[str, str]:
    """Every key of one message with the reason in words; `correlation` is the HEP correlation id it came with."""
    return keys_with_reasons(
        message.call_id,
        message.headers,
        method=message.method,
        request_uri=message.request_uri,
        body=message.body,
        correlation=correlation,
        rules=rules,
    )


def keys_with_reasons(
    call_id: str,
    headers: Iterable[tuple[str, str]],
    *,
    method: str = "",
    request_uri: str = "",
    body: bytes = b"",
    correlation: str = "",
    rules: KeyRules = DEFAULT_RULES,
) -> dict[str, str]:
    """`correlation_keys` of a message of which only these parts were read. Header names are in lower case."""
    keys: dict[str, str] = {}
    for suffix in rules.suffixes if _any_of(rules.suffixes).search(call_id) else ():
        if found := suffix.search(call_id):
            base = call_id[: found.start()] + call_id[found.end() :]
            _add(keys, "cid:", base, f"Call-ID is {base} with a suffix added")
    if correlation and correlation != call_id:
        keys["cid:" + correlation] = "HEP correlation id"
    referrer = target = sender = ""
    for name, value in headers:
        match name:
            case "from":
                sender = value
            case "referred-by":
                referrer = _referred(value)[0]
            case "refer-to":
                target, embedded = _referred(value)
                for header in embedded.split("&"):
                    if header[:9].lower() == "replaces=":
                        _add(keys, "cid:", unquote(header[9:]).partition(";")[0], "Refer-To with Replaces")
            case "session-id":
                local, _, remote = value.partition(";")
                for half in (local, remote.partition("remote=")[2].partition(";")[0]):
                    uuid = half.strip().lower()
                    if uuid != _NIL_UUID:
                        _add(keys, "session-id:", uuid, "same Session-ID")
            case "p-charging-vector":
                icid = re.search(r'icid-value="?([^";]+)', value)
                if icid:
                    _add(keys, "icid:", icid[1], "same charging id (icid)")
            case "replaces" | "join" | "target-dialog":
                _add(keys, "cid:", value.partition(";")[0], f"{_as_written(name)} header")
            case "in-reply-to":
                for each in value.split(","):
                    _add(keys, "cid:", each, "In-Reply-To header")
            case _ if name in rules.leg_headers:
                found_id = rules.leg_headers[name].search(value)
                if found_id:
                    _add(keys, "cid:", found_id[found_id.re.groups and 1], f"{_as_written(name)} header")
            case _ if name in rules.conf_headers:
                _add(keys, "conf:", conf_id(value), "same billing session")
    if method == "REFER" and target:
        _add(keys, "refer:", f"{referrer or _referred(sender)[0]}>{_user(target)}", "REFER")
    elif method == "INVITE" and referrer:
        _add(keys, "refer:", f"{referrer}>{_user(_referred(request_uri)[0])}", "Referred-By")
    at = body.find(b"o=") if body else -1
    if at >= 0 and (origin := _ORIGIN.search(body, max(0, at - 1))) and origin[1] not in _COMMON_ORIGINS:
        _add(keys, UNCERTAIN, origin[1].decode(), "same SDP origin")
    keys.pop("cid:" + call_id, None)
    return keys


def conf_id(text: str) -> str:
    """A billing session id in one form: 32 hex digits, lower case, where it is a GUID in any of its notations
    (``7D5B37E8 5F0E11EE ...``, Cisco's four decimal numbers), else as it stands."""
    text = text.strip()
    if quadruple := _GUID.fullmatch(text):
        parts = [int(part) for part in quadruple.groups()]
        if all(part < 1 << 32 for part in parts):
            return "".join(f"{part:08x}" for part in parts)
    bare = re.sub(r"[ :_{}-]", "", text).lower()
    return bare if _HEX_GUID.fullmatch(bare) else text


def _as_written(name: str) -> str:
    """`x-cid` -> `X-CID`: the canonical lower case as people write it."""
    return "-".join(part.upper() if part in ("id", "cid") else part.title() for part in name.split("-"))


@lru_cache(maxsize=16)
def _any_of(patterns: tuple[re.Pattern[str], ...]) -> re.Pattern[str]:
    """Nearly no Call-ID has a suffix: one search says so."""
    return re.compile("|".join(f"(?:{each.pattern})" for each in patterns) or r"(?!)")


def _add(keys: dict[str, str], prefix: str, value: str, because: str) -> None:
    value = value.strip().strip('"')
    if 0 < len(value) <= _LONGEST:
        keys.setdefault(prefix + value, because)


def _referred(value: str) -> tuple[str, str]:
    """(user@host in lower case, the headers embedded in the URI) of the first address of a header value."""
    found = _REFERRED.search(value)
    return (found["uri"].lower(), found["headers"] or "") if found else ("", "")


def _user(uri: str) -> str:
    return digits(uri.partition("@")[0])
