"""All SQL of the engine: the statements of the call path (`direct`), and those of sessions that are charged or lapse."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Engine,
    String,
    and_,
    bindparam,
    case,
    delete,
    false,
    func,
    literal_column,
    or_,
    select,
    true,
    type_coerce,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, aliased

from ringback.access.models import ApiToken, User
from ringback.billing.engine.direct import Prepared
from ringback.billing.engine.models import CLOSED, LOST, PRICED, RESERVED, EngineSession
from ringback.billing.engine.rating import LONGEST_PREFIX
from ringback.billing.entities.addresses import AccountAddress
from ringback.billing.entities.models import (
    Account,
    AddOn,
    Customer,
    DidNumber,
    Environment,
    Product,
    Rate,
    RatingEntry,
    Tariff,
)
from ringback.billing.entities.node import Node, NodeSender
from ringback.billing.ledger.models import Xdr
from ringback.records.engine import UnitOfWork
from ringback.records.tables import UtcTime

MOST_PARTS = 100  # xDRs of one session
MOST_ADDRESSES = 129  # an IPv6 address and every network that it lies in


def _text(name: str) -> Any:
    return bindparam(name, type_=String)


def _whole(name: str) -> Any:
    return bindparam(name, type_=BigInteger)


# 1 and a length, as they stand in the statement: of how many letters a prefix is
_BEGINNINGS: list[tuple[Any, Any]] = [
    (literal_column("1"), literal_column(str(length))) for length in range(LONGEST_PREFIX + 1)
]
_master = aliased(Account, name="master")
_rated = aliased(Product, name="rated")
_ACCOUNT_FIELDS = (
    "id", "charging_id", "product_id", "billing_model", "balance", "credit_limit", "simultaneous_calls", "status",
    "blocked", "activation_date", "expiration_date",
)  # fmt: skip
_CUSTOMER_FIELDS = (
    "id", "name", "currency", "balance_control", "balance", "credit_limit", "blocked", "bill_status", "limited",
    "suspension_delayed_until",
)  # fmt: skip
_PRODUCT_FIELDS = ("id", "name", "simultaneous_calls")
_ADD_ON_FIELDS = ("product_id", "priority", "effective_from", "effective_to")
_ENTRY_FIELDS = ("id", "product_id", "direction", "node_id", "tariff_id")
_RATE_FIELDS = (
    "id", "prefix", "destination", "forbidden", "price_first", "price_next", "interval_first", "interval_next",
    "effective_from",
)  # fmt: skip


WHO = 7 + 2 * len(_ACCOUNT_FIELDS) + len(_CUSTOMER_FIELDS) + len(_PRODUCT_FIELDS)  # columns before what may rate


def _who() -> Any:
    """Whether the token still holds, the node, the account that is asked for by its id or a DID number, its master where
    it is an alias, whose they are; and what may rate the call: a row for each entry of the service that the product or an
    add-on product has, with the rate of its tariff that holds for the number, if any. Where there is such an environment
    there is a row."""
    environment = _text("environment")
    by_id = select(Account.id).where(Account.environment == environment, Account.charging_id == _text("account"))
    by_digits = select(Account.id).where(Account.environment == environment, Account.charging_id == _text("did"))
    by_did = select(DidNumber.account_id).where(
        DidNumber.environment == environment, DidNumber.number == _text("did"), DidNumber.state == "assigned"
    )
    charged = func.coalesce(Account.alias_of_id, Account.id)
    token = select(ApiToken.version).where(ApiToken.id == _whole("token_id")).scalar_subquery()
    owner = select(User.version).where(User.id == _whole("owner_id")).scalar_subquery()
    # The product's own entries, and those of add-on products; a join of their product_id by OR would use no index.
    sources = union_all(select(false().label("added")), select(true().label("added"))).subquery("sources")
    return (
        select(
            token.label("token_version"),
            owner.label("owner_version"),
            Environment.time_zone.label("time_zone"),
            Node.id.label("node_id"),
            Node.active.label("node_active"),
            type_coerce(Account.service_password, String).label("sealed_password"),
            _charged().scalar_subquery().label("charged"),
            *(getattr(Account, name).label(f"a_{name}") for name in _ACCOUNT_FIELDS),
            *(getattr(_master, name).label(f"m_{name}") for name in _ACCOUNT_FIELDS),
            *(getattr(Customer, name).label(f"c_{name}") for name in _CUSTOMER_FIELDS),
            *(getattr(Product, name).label(f"p_{name}") for name in _PRODUCT_FIELDS),
            *(getattr(AddOn, name).label(f"o_{name}") for name in _ADD_ON_FIELDS),
            *(getattr(RatingEntry, name).label(f"e_{name}") for name in _ENTRY_FIELDS),
            _rated.name.label("rated_name"),
            Tariff.name.label("t_name"),
            *(getattr(Rate, name).label(f"r_{name}") for name in _RATE_FIELDS),
        )
        .select_from(Environment)
        .outerjoin(Node, and_(Node.environment == Environment.environment, Node.name == _text("node")))
        .outerjoin(
            Account, Account.id == func.coalesce(*(each.scalar_subquery() for each in (by_id, by_digits, by_did)))
        )
        .outerjoin(_master, _master.id == charged)
        .outerjoin(Customer, Customer.id == _master.customer_id)
        .outerjoin(Product, Product.id == _master.product_id)
        .join(sources, true())
        .outerjoin(AddOn, and_(sources.c.added, AddOn.environment == environment, AddOn.account_id == _master.id))
        .outerjoin(
            RatingEntry,
            and_(
                RatingEntry.environment == environment,
                RatingEntry.product_id == case((~sources.c.added, _master.product_id), else_=AddOn.product_id),
                RatingEntry.service == _text("service"),
            ),
        )
        .outerjoin(_rated, _rated.id == RatingEntry.product_id)
        .outerjoin(Tariff, Tariff.id == RatingEntry.tariff_id)
        .outerjoin(Rate, Rate.id == _rate_id().scalar_subquery())
        .where(Environment.environment == environment, or_(~sources.c.added, AddOn.id.is_not(None)))
    )


def _rate_id() -> Any:
    """Of a tariff: the rate with the longest prefix that the number begins with, of one prefix the last that is effective."""
    theirs = aliased(Rate, name="theirs")
    return (
        select(theirs.id)
        .where(
            theirs.environment == _text("environment"),
            theirs.tariff_id == Tariff.id,
            theirs.prefix.in_([func.substr(_text("number"), *said) for said in _BEGINNINGS]),
            theirs.effective_from <= bindparam("at", type_=UtcTime),
        )
        .order_by(func.length(theirs.prefix).desc(), theirs.effective_from.desc())
        .limit(1)
        .correlate(Tariff)
    )


_RESERVED_FIELDS = (
    "environment", "key", "state", "account_id", "charging_id", "node", "call_id", "conf_id", "service", "direction",
    "caller", "called", "authorized_at", "seen_at", "lapses_at", "max_seconds", "seconds", "told", *PRICED,
)  # fmt: skip
_RENEWED = (
    "state",
    "node",
    "conf_id",
    "caller",
    "called",
    "authorized_at",
    "started_at",
    "ended_at",
    "seen_at",
    "lapses_at",
    "max_seconds",
    "seconds",
    "told",
    *PRICED,
)  # fmt: skip -- where the same call asks again


def _column(name: str) -> Any:
    return getattr(EngineSession, name)


def _reserve(engine: Engine) -> Any:
    """A row where the session was reserved; none where too many go on, or this one was charged already."""
    values: list[Any] = [bindparam(f"new_{name}", type_=_column(name).type).label(name) for name in _RESERVED_FIELDS]
    others = _going_on()
    rows = select(*values).where(others.scalar_subquery() < bindparam("limit", type_=BigInteger))
    insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    made = insert(EngineSession).from_select(_RESERVED_FIELDS, rows)
    return made.on_conflict_do_update(
        index_elements=["environment", "key"],
        set_={name: made.excluded[name] for name in _RENEWED},
        where=and_(EngineSession.xdr_id.is_(None), EngineSession.state != "started"),
    ).returning(EngineSession.id)


def _reserve_many(engine: Engine) -> Any:
    """Without a look at how many go on: of arrays on PostgreSQL, one statement for all; else of one row."""
    made: postgresql.Insert | sqlite.Insert
    if engine.dialect.name == "postgresql":
        kinds = {name: String if isinstance(_column(name).type, String) else BigInteger for name in _RESERVED_FIELDS}
        arrays = [bindparam(name, type_=postgresql.ARRAY(kind)) for name, kind in kinds.items()]
        rows = func.unnest(*arrays).table_valued(*kinds).render_derived(name="given")
        made = postgresql.insert(EngineSession).from_select(
            _RESERVED_FIELDS, select(*(rows.c[name] for name in kinds))
        )
    else:
        made = sqlite.insert(EngineSession).values({name: bindparam(f"new_{name}") for name in _RESERVED_FIELDS})
    return made.on_conflict_do_update(
        index_elements=["environment", "key"],
        set_={name: made.excluded[name] for name in _RENEWED},
        where=and_(EngineSession.xdr_id.is_(None), EngineSession.state != "started"),
    )


def _charged() -> Any:
    """How many sessions of the call were charged: a Call-ID may be used again."""
    return (
        select(func.count())
        .select_from(EngineSession)
        .where(
            EngineSession.environment == _text("environment"),
            EngineSession.call_id == _text("call_id"),
            EngineSession.xdr_id.is_not(None),
        )
    )


def _going_on() -> Any:
    return select(func.count()).select_from(EngineSession).where(
        EngineSession.account_id == bindparam("new_account_id", type_=BigInteger),
        EngineSession.ended_at.is_(None),  # as the index says it
        EngineSession.lapses_at > bindparam("now", type_=UtcTime),
        EngineSession.key != bindparam("new_key", type_=String),
    )  # fmt: skip


def _standing() -> Any:
    """(how many others go on, the state of the session itself: None where there is none)"""
    mine = select(EngineSession.state).where(
        EngineSession.environment == bindparam("new_environment", type_=String),
        EngineSession.key == bindparam("new_key", type_=String),
    )
    return select(_going_on().scalar_subquery().label("others"), mine.scalar_subquery().label("state"))


def _by_address() -> Any:
    """Accounts that call from one of the addresses: which one they named, their ids."""
    return (
        select(AccountAddress.value, Account.charging_id)
        .join(Account, Account.id == AccountAddress.account_id)
        .where(
            AccountAddress.environment == _text("environment"),
            AccountAddress.value.in_([_text(f"address_{place}") for place in range(MOST_ADDRESSES)]),
            Account.status != "closed",
        )
        .order_by(Account.id)
        .limit(1000)
    )


def _node_by_address() -> Any:
    """Of a node that is named by an address of it."""
    return (
        select(Node.id, Node.name, Node.active)
        .join(NodeSender, NodeSender.node_id == Node.id)
        .where(
            NodeSender.environment == _text("environment"), NodeSender.kind == "address",
            NodeSender.value == _text("address"),
        )
    )  # fmt: skip


class Statements:
    """Those of the call path, for one database."""

    def __init__(self, engine: Engine) -> None:
        def prepared(statement: Any) -> Prepared:
            return Prepared(statement, statement.selected_columns, engine)

        self.who = prepared(_who())
        self.charged_before = prepared(
            _charged().where(
                EngineSession.account_id == _whole("account_id"), EngineSession.direction == _text("direction")
            )
        )
        self.by_address = prepared(_by_address())
        self.node_by_address = prepared(_node_by_address())
        self.standing = prepared(_standing())
        self.reserve = Prepared(_reserve(engine), None, engine)
        self.reserve_many = Prepared(_reserve_many(engine), None, engine)
        self.lock = Prepared(select(func.pg_advisory_xact_lock(_whole("key"))), None, engine)
        token = select(ApiToken.version).where(ApiToken.id == _whole("token_id")).scalar_subquery()
        owner = select(User.version).where(User.id == _whole("owner_id")).scalar_subquery()
        self.token = prepared(select(token.label("token_version"), owner.label("owner_version")))
        self.probe = prepared(select(literal_column("1", BigInteger).label("one")))


def token_versions(session: Session, token_hash: str) -> tuple[int | None, int | None]:
    """Of a token and its owner."""
    found = select(ApiToken.version, User.version).outerjoin(User, User.id == ApiToken.user_id)
    row = session.execute(found.where(ApiToken.token_hash == token_hash)).one_or_none()
    return (None, None) if row is None else (row[0], row[1])


def reserved(values: dict[str, Any]) -> dict[str, Any]:
    return {f"new_{name}": value for name, value in values.items()}


def session_by_key(work: UnitOfWork, environment: str, key: str) -> EngineSession | None:
    found = select(EngineSession).where(EngineSession.environment == environment, EngineSession.key == key)
    return work.scalars(found.with_for_update().execution_options(populate_existing=True)).one_or_none()


def call_of_session(work: UnitOfWork, environment: str, key: str) -> str | None:
    """The Call-ID it was asked for with: who tells of it may know it by another (RADIUS). Locks nothing."""
    found = select(EngineSession.call_id).where(EngineSession.environment == environment, EngineSession.key == key)
    return work.scalars(found).one_or_none() if key else None


def sessions_of_call(work: UnitOfWork, environment: str, call_id: str) -> Sequence[EngineSession]:
    """The newest first, locked."""
    found = (
        select(EngineSession)
        .where(EngineSession.environment == environment, EngineSession.call_id == call_id)
        .order_by(EngineSession.id.desc())
        .limit(100)
    )
    return work.scalars(found.with_for_update().execution_options(populate_existing=True)).all()


def lapsed(session: Session, now: datetime, limit: int) -> Sequence[tuple[str, str, str]]:
    """(environment, key, Call-ID) of answered ones that nobody tells of any more."""
    found = (
        select(EngineSession.environment, EngineSession.key, EngineSession.call_id)
        .where(EngineSession.state == "started", EngineSession.lapses_at <= now)
        .order_by(EngineSession.lapses_at)
        .limit(limit)
    )
    return [(environment, key, call_id) for environment, key, call_id in session.execute(found)]


def close_reserved(work: UnitOfWork, now: datetime) -> int:
    """Those that were allowed and never answered: they were no calls."""
    done = work.execute(
        update(EngineSession)
        .where(EngineSession.state == RESERVED, EngineSession.lapses_at <= now)
        .values(state=LOST, ended_at=EngineSession.lapses_at)
        .execution_options(synchronize_session=False)
    )
    return int(done.rowcount)  # type: ignore[attr-defined]


def forget_closed(work: UnitOfWork, before: datetime) -> int:
    done = work.execute(
        delete(EngineSession)
        .where(EngineSession.state.in_((CLOSED, LOST)), EngineSession.lapses_at <= before)
        .execution_options(synchronize_session=False)
    )
    return int(done.rowcount)  # type: ignore[attr-defined]


def charged(work: UnitOfWork, environment: str, key: str) -> Sequence[Xdr]:
    """What a session was charged so far, in order: once, or in parts where its end was taken for lost too early."""
    keys = [part_key(key, part) for part in range(MOST_PARTS)]
    found = select(Xdr).where(Xdr.environment == environment, Xdr.session_key.in_(keys))
    return work.scalars(found.order_by(Xdr.id)).all()


def part_key(key: str, part: int) -> str:
    """The xDR's session key of the first, second, ... part."""
    return f"{key}+{part}" if part else key


def currency_of(work: UnitOfWork, customer_id: int) -> str:
    return work.scalar(select(Customer.currency).where(Customer.id == customer_id)) or ""
