"""What nodes send and get: the bodies of authorize and accounting as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Literal, TypeVar

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ringback.billing.engine.rating import Rate
from ringback.problem import Problem

_PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)

Short = Annotated[str, Field(max_length=255, pattern=_PRINTABLE)]
Named = Annotated[str, Field(min_length=1, max_length=255, pattern=_PRINTABLE)]
Moment = Annotated[AwareDatetime, Field(ge=_FIRST, lt=_LAST)]
Seconds = Annotated[int, Field(ge=0, le=10_000_000)]
Service = Literal["voice", "messaging", "data", "iptv"]
AskedService = Literal["voice", "messaging", "data", "iptv", "registration"]
Direction = Literal["outgoing", "incoming", "forwarded"]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Asked(_Body):
    """May this call be made, or this phone register? One of `account`, `authorization`, `username` with `password`, `ip` says
    whose it is."""

    node: Named
    call_id: Named
    conf_id: Short = ""
    service: AskedService = "voice"
    direction: Direction = "outgoing"
    account: Short = ""
    authorization: Annotated[str, Field(max_length=4096, pattern=_PRINTABLE)] = ""
    method: Annotated[str, Field(max_length=32, pattern=r"^[A-Za-z0-9.!%*_+`'~-]*$")] = "INVITE"
    username: Short = ""
    password: Annotated[str, Field(max_length=255)] | None = None
    ip: Annotated[str, Field(max_length=64)] = ""
    caller: Short = ""
    called: Short = ""
    at: Moment | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Asked:
        if sum(map(bool, (self.account, self.authorization, self.username, self.ip))) != 1:
            raise ValueError("say whose call it is by one of account, authorization, username with password, or ip")
        if bool(self.username) != (self.password is not None):
            raise ValueError("username and password go together")
        return self


class Told(_Body):
    """A call begins, goes on or has ended."""

    event: Literal["start", "interim", "stop"]
    node: Named
    call_id: Named
    conf_id: Short = ""
    session: Annotated[str, Field(max_length=40, pattern=_PRINTABLE)] = ""
    account: Short = ""
    service: Service = "voice"
    direction: Direction = "outgoing"
    caller: Short = ""
    called: Short = ""
    seconds: Seconds | None = None
    connected_at: Moment | None = None
    ended_at: Moment | None = None
    cause: Annotated[str, Field(max_length=32, pattern=_PRINTABLE)] = ""


@dataclass(frozen=True, slots=True)
class RateDocument:
    i_rate: int | None
    prefix: str
    destination: str
    price_first: str
    price_next: str
    interval_first: int
    interval_next: int


@dataclass(frozen=True, slots=True)
class Answer:
    """To authorize. Amounts are texts; `rate` is None where the call was refused before one was found."""

    allowed: bool
    session: str | None
    account: str
    i_account: int | None
    i_customer: int | None
    currency: str
    max_seconds: int
    rate: RateDocument | None
    reason: str
    text: str
    sip_code: int
    sip_reason: str
    h323_return_code: int
    error_name: str


@dataclass(frozen=True, slots=True)
class XdrDocument:
    id: int
    amount: str
    charged_seconds: int


@dataclass(frozen=True, slots=True)
class Taken:
    """To accounting."""

    session: str
    state: Literal["started", "closed"]
    xdr: XdrDocument | None


Body = TypeVar("Body", bound=_Body)


def read_asked(body: bytes) -> Asked:
    """Raises Problem."""
    return _read(Asked, body)


def read_told(body: bytes) -> Told:
    """Raises Problem."""
    return _read(Told, body)


def _read(kind: type[Body], body: bytes) -> Body:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise unreadable(error) from error


def unreadable(error: ValidationError) -> Problem:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or None
    message = str(first["msg"]).removeprefix("Value error, ")
    return Problem(422, f"{field}: {message}." if field else f"{message[:1].upper()}{message[1:]}.", field=field,
                   title="The body cannot be used")  # fmt: skip


@lru_cache(4096)
def amount(value: Decimal) -> str:
    """With two places at least, as few as can be."""
    text = f"{value:.5f}".rstrip("0")
    whole, _, places = text.partition(".")
    return f"{whole}.{places:0<2}"


def rate_document(rate: Rate) -> RateDocument:
    return RateDocument(
        i_rate=rate.id, prefix=rate.prefix, destination=rate.destination, price_first=amount(rate.price_first),
        price_next=amount(rate.price_next), interval_first=rate.interval_first, interval_next=rate.interval_next,
    )  # fmt: skip


def as_json(document: Answer | Taken) -> bytes:
    return orjson.dumps(document)
