"""Both endpoints as FreeRADIUS's rlm_rest speaks (`?format=radius`): RADIUS attributes in JSON, the same logic behind.

In: `{"User-Name": {"type": "string", "value": ["12103355787"]}, ...}`, values also plain. Cisco's attributes may bear
their name in the value (`h323-conf-id=...`). Out: attributes of the reply and control lists, never expanded (`do_xlat`).
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any, TypeVar

import orjson
from pydantic import ValidationError

from ringback import clock
from ringback.billing.engine.documents import Answer, Asked, Taken, Told, as_json, unreadable
from ringback.problem import Problem

Attributes = dict[str, list[str]]
Body = TypeVar("Body", Asked, Told)

_DIGEST = {
    "username": "Digest-User-Name",
    "realm": "Digest-Realm",
    "nonce": "Digest-Nonce",
    "uri": "Digest-URI",
    "response": "Digest-Response",
    "algorithm": "Digest-Algorithm",
    "qop": "Digest-QOP",
    "cnonce": "Digest-CNonce",
    "nc": "Digest-Nonce-Count",
}  # fmt: skip -- parts of a Digest answer
_EVENTS = {"start": "start", "1": "start", "stop": "stop", "2": "stop", "interim-update": "interim", "alive": "interim",
           "3": "interim"}  # fmt: skip
_UNCHECKED = ("CHAP-Password", "MS-CHAP-Response", "MS-CHAP2-Response", "EAP-Message", "ARAP-Password")
_COUNTED = re.compile(r"[0-9a-fA-F]{1,12}")  # an Acct-Session-Id that a node counts itself, and anew when it restarts
_HEX, _OCTETS = re.compile(r"[0-9a-fA-F]{1,2}"), re.compile(r"0x(?:[0-9a-fA-F]{2})+")
_LATEST = 30 * 86_400  # seconds that a node may be late
_DIRECTIONS = {"answer": "outgoing", "originate": "incoming"}  # h323-call-origin, as the gateway sees its leg


def asked(body: bytes) -> Asked:
    """Of an Access-Request. Raises Problem."""
    attributes = _attributes(body)
    given = _call(attributes)
    name = _first(attributes, "User-Name")
    if "digest-response" in attributes:
        parts = {part: _first(attributes, of) for part, of in _DIGEST.items()}
        parts["username"] = parts["username"] or name
        given["authorization"] = "Digest " + ", ".join(
            f'{part}="{_quoted(text)}"' for part, text in parts.items() if text
        )
        if method := _first(attributes, "Digest-Method"):
            given["method"] = method
    elif "user-password" in attributes:
        given |= {"username": name, "password": _first(attributes, "User-Password")}
    elif proof := next((each for each in _UNCHECKED if each.lower() in attributes), ""):
        given["authorization"] = proof  # which nobody here can check
    elif _is_address(name):
        given["ip"] = name
    elif name:
        given["account"] = name
    else:
        given["ip"] = _first(attributes, "h323-remote-address", "Packet-Src-IP-Address", "NAS-IP-Address")
    return _made(Asked, given)


def told(body: bytes) -> Told:
    """Of an Accounting-Request. Raises Problem."""
    attributes = _attributes(body)
    status = _first(attributes, "Acct-Status-Type")
    event = _EVENTS.get(status.lower())
    if event is None:
        raise Problem(422, f"Acct-Status-Type is {status or 'missing'}: Start, Interim-Update and Stop are taken.",
                      field="Acct-Status-Type")  # fmt: skip
    given = _call(attributes) | {"event": event}
    if not _is_address(name := _first(attributes, "User-Name")):  # of whom is known by it, the call tells
        given["account"] = name
    if (seconds := _first(attributes, "Acct-Session-Time")).isdecimal():
        given["seconds"] = seconds
    given["cause"] = (
        _q850(_first(attributes, "h323-disconnect-cause")) or _first(attributes, "Acct-Terminate-Cause")[:32]
    )
    given["session"] = _plain(_first(attributes, "Class"))[:40]
    for field, attribute in (("connected_at", "h323-connect-time"), ("ended_at", "h323-disconnect-time")):
        if (moment := _moment(_first(attributes, attribute))) is not None:
            given[field] = moment
    late = _first(attributes, "Acct-Delay-Time")  # told again later: the moment of the event is the first telling's
    field = {"start": "connected_at", "stop": "ended_at"}.get(event, "")
    if field and field not in given and late.isdecimal():
        given[field] = clock.now() - timedelta(seconds=min(int(late), _LATEST))
    return _made(Told, given)


def answered(answer: Answer) -> bytes:
    """For the reply and control lists."""
    lists = {"control:Auth-Type": "Accept" if answer.allowed else "Reject",
             "reply:h323-return-code": f"h323-return-code={answer.h323_return_code}"}  # fmt: skip
    if answer.allowed:
        lists["reply:h323-credit-time"] = f"h323-credit-time={answer.max_seconds}"
        lists["reply:Session-Timeout"] = str(answer.max_seconds)
        lists["reply:Class"] = answer.session or ""
    else:
        lists["reply:Reply-Message"] = answer.text.encode()[:253].decode(errors="ignore")
        lists["reply:Cisco-AVPair"] = f"error-name={answer.error_name}"
    if answer.currency:
        lists["reply:h323-currency"] = f"h323-currency={answer.currency}"
    return orjson.dumps({name: {"op": ":=", "do_xlat": False, "value": [value]} for name, value in lists.items()})


def taken(document: Taken) -> bytes:
    """Nothing: an Accounting-Response has no attributes. What was done is in the billing log."""
    return b"{}" if document else as_json(document)


def _call(attributes: Attributes) -> dict[str, Any]:
    pairs = dict(each.split("=", 1) for each in attributes.get("cisco-avpair", ()) if "=" in each)
    conf_id = _first(attributes, "h323-conf-id") or pairs.get("h323-conf-id", "")
    node = _first(attributes, "NAS-Identifier", "NAS-IP-Address", "NAS-IPv6-Address")
    call_id = _first(attributes, "Sip-Call-Id", "Call-Id") or pairs.get("call-id", "")
    if not call_id:
        call_id = _first(attributes, "Acct-Session-Id")
        if _COUNTED.fullmatch(call_id):
            call_id = conf_id or f"{call_id}@{node}"
    origin = _first(attributes, "h323-call-origin").lower()
    given = {
        "node": node,
        "call_id": call_id or conf_id,
        "conf_id": conf_id,
        "caller": _first(attributes, "Calling-Station-Id"),
        "called": _first(attributes, "Called-Station-Id"),
    }
    if origin in _DIRECTIONS:
        given["direction"] = _DIRECTIONS[origin]
    return given


def _attributes(body: bytes) -> Attributes:
    """By name in lower case. Raises Problem."""
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(422, f"The body is no JSON: {error}", title="The body cannot be used") from error
    if not isinstance(given, dict):
        raise Problem(422, "The body is no object of attributes.", title="The body cannot be used")
    found: Attributes = {}
    for name, value in given.items():
        values = value.get("value", []) if isinstance(value, dict) else value
        values = values if isinstance(values, list) else [values]
        if not all(isinstance(each, str | int | float) for each in values):
            raise Problem(422, f"{name} has a value that is no text and no number.", field=name[:100])
        found.setdefault(name.lower(), []).extend(_bare(name, _text(str(each))) for each in values)
    return found


def _text(value: str) -> str:
    """rlm_rest gives each byte of UTF-8 as a character."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _bare(name: str, value: str) -> str:
    """Without the name that Cisco's attributes repeat."""
    before, equals, after = value.partition("=")
    return after if equals and before.lower() == name.lower() else value


def _first(attributes: Attributes, *names: str) -> str:
    for name in names:
        for value in attributes.get(name.lower(), ()):
            if value:
                return value
    return ""


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _q850(text: str) -> str:
    """Cisco tells causes as hexadecimal numbers."""
    return str(int(text, 16)) if _HEX.fullmatch(text) else text[:32]


def _plain(octets: str) -> str:
    """rlm_rest gives octets as 0x..."""
    return bytes.fromhex(octets[2:]).decode(errors="replace") if _OCTETS.fullmatch(octets) else octets


def _moment(text: str) -> str | None:
    """Cisco's `19:03:22.118 UTC Mon Oct 12 2026`, of zones that are UTC; else ISO 8601. None where the node's clock is not
    set: far from now."""
    words = text.lstrip("*.").split()
    if len(words) == 6 and words[1] in ("UTC", "GMT"):
        try:
            day = datetime.strptime(f"{words[5]} {words[3]} {words[4]} {words[0]} +0000", "%Y %b %d %H:%M:%S.%f %z")
        except ValueError:
            return None
        return day.isoformat() if abs((day - clock.now()).total_seconds()) < _LATEST else None
    return text if text[:4].isdecimal() and "T" in text else None


def _made(kind: type[Body], given: dict[str, Any]) -> Body:
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise unreadable(error) from error
