"""The billing log of two calls of the demo: one that the tariff forbids, one that was answered and charged.

The lines are those that the billing engine writes; they go to the server as an engine's do, over HTTP. The charge is posted
to the ledger, so that the xDR that they name is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any
from urllib.request import Request, urlopen

import orjson
from sqlalchemy import Engine, select

from ringback import clock
from ringback.access import tokens
from ringback.access.permissions import Permission
from ringback.billing.engine import rating
from ringback.billing.engine.documents import amount
from ringback.billing.entities.models import Account, Customer, Product, Rate, RatingEntry, Tariff
from ringback.billing.ledger.service import post_usage
from ringback.changes.schemas import Actor
from ringback.changes.service import changing
from ringback.demo.copies import Original, Timed
from ringback.records.tables import DEFAULT_ENVIRONMENT
from ringback.sessions.capture.hep import SIP, decode
from ringback.sessions.capture.sip import SipMessage, parse

REFUSED, CHARGED = "premium-not-allowed", "answered"  # scenarios of the recording
_NODE = "edge1"
_ENGINE = Actor("system", "billing engine", "engine")
_HERE = (DEFAULT_ENVIRONMENT,)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the packets tell of a call, in microseconds."""

    call_id: str
    caller: str
    called: str
    asked_us: int  # the INVITE with its credentials reached the edge
    answered_us: int = 0
    ended_us: int = 0


def send_billing_log(url: str, engine: Engine, recorded: Mapping[str, Original], timed: Iterable[Timed]) -> None:
    """Of the first copies of both calls in `timed`, which have the recording's Call-IDs. Raises OSError."""
    wanted = {recorded[name].played.call_ids[0]: name for name in (REFUSED, CHARGED)}
    lines: list[dict[str, Any]] = []
    for seen in _seen(timed, wanted):
        book = _Book(engine, seen)
        lines += book.refused() if wanted[seen.call_id] == REFUSED else book.charged()
    body = b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines)
    with changing(engine, _ENGINE, _HERE) as work:
        token = tokens.create_token(work, "demo billing log", 1, scopes=(Permission.LOGS_WRITE,))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"}
    with urlopen(Request(f"{url}/ingest/v1/logs", body, headers), timeout=30) as answer:  # noqa: S310 -- our own server
        answer.read()


def _seen(timed: Iterable[Timed], wanted: Iterable[str]) -> list[_Seen]:
    messages: dict[str, list[tuple[int, SipMessage]]] = {call_id: [] for call_id in wanted}
    for each in timed:
        packet = decode(each.packet, 0)
        if packet.payload_type == SIP:
            message = parse(packet.payload)
            if message.call_id in messages:
                messages[message.call_id].append((packet.time_us, message))
    return [_of(call_id, found) for call_id, found in messages.items() if found]


def _of(call_id: str, messages: list[tuple[int, SipMessage]]) -> _Seen:
    invites = [
        (time_us, one) for time_us, one in messages if one.is_request and one.method == "INVITE" and not one.to_tag
    ]
    first = invites[0][1]
    with_credentials = [
        time_us for time_us, one in invites if one.header("proxy-authorization") or one.header("authorization")
    ]
    answers = [time_us for time_us, one in messages if one.status == 200 and one.method == "INVITE"]
    ends = [time_us for time_us, one in messages if one.is_request and one.method == "BYE"]
    return _Seen(
        call_id,
        caller=first.addresses("from")[0].uri.user,
        called=first.request_uri.removeprefix("sip:").partition("@")[0],
        asked_us=with_credentials[0] if with_credentials else invites[0][0],
        answered_us=answers[-1] if answers else 0,
        ended_us=ends[0] if ends else 0,
    )


class _Book:
    """Who calls, by which product, tariff and rate: as the engine finds them."""

    def __init__(self, engine: Engine, seen: _Seen) -> None:
        self.engine, self.seen = engine, seen
        with changing(engine, _ENGINE, _HERE) as work:
            self.account = work.scalars(select(Account).where(Account.charging_id == seen.caller)).one()
            self.customer = work.scalars(select(Customer).where(Customer.id == self.account.customer_id)).one()
            self.product = work.scalars(select(Product).where(Product.id == self.account.product_id)).one()
            entry = select(RatingEntry.tariff_id).where(
                RatingEntry.product_id == self.product.id,
                RatingEntry.direction == "outgoing",
                RatingEntry.node_id.is_(None),
            )
            self.tariff = work.scalars(select(Tariff).where(Tariff.id.in_(entry))).one()
            rates = work.scalars(select(Rate).where(Rate.tariff_id == self.tariff.id)).all()
            self.rate = max(
                (one for one in rates if seen.called.startswith(one.prefix)), key=lambda one: len(one.prefix)
            )
            work.expunge_all()
        self.priced = rating.Rate(
            *(getattr(self.rate, each.name) for each in fields(rating.Rate))
        )  # as the engine names and charges it
        self.told = self.priced.told

    def refused(self) -> list[dict[str, Any]]:
        why = (
            f"Calls to {self.told} are forbidden by the tariff {self.tariff.name} of the product {self.product.name}."
        )
        return [
            *self._asked(f"{self.seen.called} is {self.told} in the tariff {self.tariff.name}: forbidden."),
            self._line(
                self.seen.asked_us + 60, "decision", f"The call is refused: {why}", level="warning", result="refused",
                reason="destination-forbidden", sip_code=403, h323_return_code=9, error_name="cld_blocked",
                link_type="rate", link_id=self.rate.id, **self._rated(),
            ),
        ]  # fmt: skip

    def charged(self) -> list[dict[str, Any]]:
        seen, currency = self.seen, self.customer.currency
        seconds = max(1, round((seen.ended_us - seen.answered_us) / 1e6))
        charged, rate = rating.charged_seconds(self.priced, seconds), self.priced
        with changing(self.engine, _ENGINE, _HERE) as work:
            xdr = post_usage(
                work, DEFAULT_ENVIRONMENT, self.account.id, rating.price(rate, seconds), session_key=f"demo {seen.call_id}",
                service="voice", seconds=seconds, charged_seconds=charged,
                rate=(self.rate.id, self.rate.prefix, self.rate.destination), caller=seen.caller, called=seen.called,
                call_id=seen.call_id, node=_NODE, started_at=clock.from_us(seen.answered_us),
                ended_at=clock.from_us(seen.ended_us), cause="16",
            )  # fmt: skip
            if xdr is None:
                raise LookupError("the demo's call was charged before")
            xdr_id, cost = xdr.id, amount(xdr.amount)
        price = (
            f"{amount(rate.price_first)} {currency} a minute for the first {rate.interval_first} s, "
            f"then {amount(rate.price_next)} a minute by {rate.interval_next} s"
        )
        what = f"{seconds} s of {self.told}, {charged} s charged: {cost} {currency} (xDR {xdr_id})."
        return [
            *self._asked(f"{seen.called} is {self.told} in the tariff {self.tariff.name}: {price}."),
            self._line(seen.asked_us + 60, "decision", "The call is allowed for 2 h at most.", result="allowed",
                       max_seconds=7200, sip_code=200, h323_return_code=0, **self._rated()),
            self._line(seen.answered_us + 3_000, "start", f"{_NODE} tells that the call has begun.", **self._rated()),
            self._line(seen.ended_us + 3_000, "stop", f"{_NODE} tells that the call has ended after {seconds} s.",
                       seconds=seconds, cause="16", **self._rated()),
            self._line(seen.ended_us + 9_000, "xdr", what, xdr=xdr_id, amount=cost, seconds=seconds,
                       charged_seconds=charged, **self._rated()),
        ]  # fmt: skip

    def _asked(self, rate: str) -> list[dict[str, Any]]:
        seen, at, owes = self.seen, self.seen.asked_us + 20, amount(self.customer.balance)
        numbers = f"from {seen.caller} to {seen.called}"
        found = f"Found the account {seen.caller} by its Digest user name; its customer is {self.customer.name}, its product"
        limit = (
            "there is no credit limit" if self.customer.credit_limit is None else "its credit limit is not reached"
        )
        return [
            self._line(at, "request", f"{_NODE} asks for an outgoing voice call {numbers}.", service="voice"),
            self._line(at + 1, "account", f"{found} {self.product.name}.", asked_account=seen.caller),
            self._line(at + 2, "status", "The account and its customer are active.", status="active"),
            self._line(at + 3, "balance", f"The customer owes {owes} {self.customer.currency}; {limit}.", balance=owes),
            self._line(at + 4, "product", f"The product {self.product.name} rates outgoing voice calls by the tariff "
                       f"{self.tariff.name}.", i_tariff=self.tariff.id),
            self._line(at + 5, "rate", rate, link_type="rate", link_id=self.rate.id, **self._rated()),
        ]  # fmt: skip

    def _rated(self) -> dict[str, Any]:
        return {
            "i_rate": self.rate.id, "prefix": self.rate.prefix, "destination": self.rate.destination,
            "price": amount(self.rate.price_first), "tariff": self.tariff.name, "product": self.product.name,
        }  # fmt: skip

    def _line(self, time_us: int, step: str, text: str, *, level: str = "info", **fields: object) -> dict[str, Any]:
        who = {"i_account": self.account.id, "i_customer": self.customer.id, "i_product": self.product.id}
        return {
            "time": clock.isoformat(time_us), "kind": "billing", "node": _NODE, "level": level, "text": text,
            "call_id": self.seen.call_id, "account": self.seen.caller, "engine": "ringback", "step": step,
            "caller": self.seen.caller, "called": self.seen.called, "currency": self.customer.currency,
            **(who if step != "request" else {}), **fields,
        }  # fmt: skip
