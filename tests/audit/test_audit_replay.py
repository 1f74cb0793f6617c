"""What any sequence of edits leaves behind can be rebuilt from the audit records alone."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from audited import ANN, add_account, add_customer, add_product, records
from ringback import clock
from ringback.audit.keys import AuditKeys
from ringback.audit.verification import verify
from ringback.billing.entities.fields import Kind
from ringback.billing.entities.models import TYPES, Account, Customer, Product
from ringback.changes.schemas import SECRET
from ringback.changes.service import changing
from ringback.records.engine import UnitOfWork, open_engine, reading
from ringback.records.schema import migrate

MODELS: dict[str, type[Any]] = {"customer": Customer, "account": Account, "product": Product}
EDITS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "customer": {
        "blocked": st.booleans(), "bill_status": st.sampled_from(["open", "suspended", "closed"]),
        "credit_limit": st.none() | st.decimals(0, 100, places=5), "city": st.sampled_from(["", "Waco", "Łódź", "x" * 80]),
        "suspension_delayed_until": st.none() | st.dates(date(2026, 1, 1), date(2027, 1, 1)), "due_days": st.integers(0, 365),
    },
    "account": {
        "role": st.sampled_from(["", "fax", "é"]), "status": st.sampled_from(["active", "suspended"]),
        "allowed_addresses": st.lists(st.sampled_from(["192.0.2.1", "192.0.2.2"]), max_size=2),
        "service_password": st.none() | st.sampled_from(["one", "two"]), "blocked": st.booleans(),
    },
    "product": {"description": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9)},
}  # fmt: skip
LAST: dict[str, dict[str, object]] = {
    "customer": {"city": "Oslo"},
    "account": {"role": "last"},
    "product": {"description": "The last one."},
}  # fmt: skip -- which no edit gives
STEP = st.one_of(
    st.sampled_from(list(MODELS)).flatmap(
        lambda kind: st.tuples(
            st.just("edit"), st.just(kind), st.integers(0, 5), st.fixed_dictionaries({}, optional=EDITS[kind])
        )
    ),
    st.tuples(st.sampled_from(["add", "delete", "flush", "back"]), st.sampled_from(list(MODELS)), st.integers(0, 5)),
)  # fmt: skip
UNITS = st.lists(st.lists(STEP, min_size=1, max_size=6), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, composed: Path) -> Path:
    path = tmp_path_factory.mktemp("replay") / "records.sqlite"
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    engine.dispose()
    return path


@example(units=[[("edit", "product", 0, {"description": "0"}), ("edit", "product", 0, {"description": ""})]])
@given(units=UNITS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_entity_is_rebuilt_from_its_records(
    template: Path, tmp_path_factory: Any, units: list[list[Any]]
) -> None:
    path = tmp_path_factory.mktemp("run") / "records.sqlite"
    path.write_bytes(template.read_bytes())
    engine = open_engine(f"sqlite:///{path}")
    try:
        with changing(engine, ANN, ("default",)) as work:
            add_account(work, add_customer(work), add_product(work))
        for number, steps in enumerate(units):
            with changing(engine, ANN, ("default",)) as work:
                for place, step in enumerate(steps):
                    take(work, step, f"{number}.{place}")
        with changing(
            engine, ANN, ("default",)
        ) as work:  # what was changed and changed back left no record, but a version
            for kind, model in MODELS.items():
                for row in work.scalars(select(model)).all():
                    for field, value in LAST[kind].items():
                        setattr(row, field, value)
        assert rebuilt(engine) == stored(engine)
        assert verify(engine, "default", AuditKeys()).is_whole
    finally:
        engine.dispose()


def take(work: UnitOfWork, step: tuple[Any, ...], name: str) -> None:
    do, kind, which = step[:3]
    if do == "flush":
        work.flush()
        return
    if do == "back":  # a savepoint that is taken back
        undone = work.begin_nested()
        work.query(Customer).first().city = "nowhere"  # type: ignore[union-attr]
        add_product(work, f"Never {name}")
        undone.rollback()
        return
    if do == "add":
        customer = work.query(Customer).first() or add_customer(work, f"Customer {name}")
        if kind == "account":
            product = work.query(Product).first() or add_product(work, f"Product {name}")
            add_account(work, customer, product, name)
        elif kind == "product":
            add_product(work, name)
        else:
            add_customer(work, name)
        return
    work.flush()
    found = work.scalars(select(MODELS[kind]).order_by(MODELS[kind].id)).all()
    if not found:
        return
    row = found[which % len(found)]
    if do == "edit":
        for field, value in step[3].items():
            setattr(row, field, value)
    elif kind == "account":  # nothing links to one
        work.delete(row)


def rebuilt(engine: Engine) -> dict[tuple[str, str], dict[str, object]]:
    """(type, id) -> properties, from the records and nothing else."""
    found: dict[tuple[str, str], dict[str, object]] = {}
    for record in records(engine):
        key = record.entity_type, record.entity_id
        changes = orjson.loads(record.changes)
        if record.action == "created":
            assert key not in found
            found[key] = {}
        for name, (old, new) in changes.items():
            before, after = (plain(record.entity_type, name, each) for each in (old, new))
            assert found[key].get(name) == before, (record.id, name)
            found[key][name] = after
        if record.action == "deleted":
            left = {name: value for name, value in found.pop(key).items() if value is not None}
            assert set(left) <= {"version"}
        elif record.version is not None:
            found[key]["version"] = record.version
    return {
        key: {name: value for name, value in values.items() if value is not None} for key, values in found.items()
    }


def as_json(value: object) -> object:
    return str(value) if isinstance(value, (date, Decimal)) else value


def plain(kind: str, name: str, value: object) -> object:
    """Amounts are equal however many zeros they end with; what is empty is nothing."""
    if value in (None, "", []):
        return None
    return Decimal(str(value)) if TYPES[kind][name].kind is Kind.MONEY else value


def stored(engine: Engine) -> dict[tuple[str, str], dict[str, object]]:
    found = {}
    with reading(engine, ("default",)) as session:
        for kind, model in MODELS.items():
            for row in session.scalars(select(model)):
                values: dict[str, object] = {"version": row.version}
                for field in TYPES[kind].fields:
                    value = getattr(row, field.name)
                    if value not in (None, "", []) and not field.kept:
                        values[field.name] = SECRET if field.secret else plain(kind, field.name, as_json(value))
                found[kind, str(row.id)] = values
    return found


def test_the_clock_of_records_does_not_run_backwards(template: Path, tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    path.write_bytes(template.read_bytes())
    engine = open_engine(f"sqlite:///{path}")
    for number in range(5):
        with changing(engine, ANN, ("default",)) as work:
            add_product(work, f"Product {number}", subscription_fee=Decimal(number))
    times = [record.at for record in records(engine)]
    engine.dispose()
    assert times == sorted(times)
    assert times[-1] <= clock.now()
