"""What must hold between the fields of an entity, and between it and what it links to. One short function a rule.

A rule reads the entity as it would be (`Proposed`) and yields (field, sentence) for what is wrong. A rule that reads a
field which is wrong itself, or is not there, is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select

from ringback.billing.entities.errors import WHOLE
from ringback.billing.entities.fields import Entity, EntityType
from ringback.billing.entities.known import Known
from ringback.billing.entities.models import TYPES, Account, AddOn, Customer
from ringback.billing.entities.senders import KINDS, owners
from ringback.billing.entities.values import MOST_WORDS
from ringback.changes.history import has_history
from ringback.records.tables import DEFAULT_ENVIRONMENT, RESERVED_ENVIRONMENTS

Wrong = Iterator[tuple[str, str]]
Rule = Callable[["Proposed"], Wrong]
_rules: defaultdict[str, list[Rule]] = defaultdict(list)
_CLOSED_CUSTOMER = "The customer is closed, which is final: only its notes can be changed."


class NotToBeRead(Exception):
    """A rule asked for a value that is wrong, or none."""


@dataclass(slots=True)
class Proposed:
    """An entity as it would be."""

    kind: EntityType
    row: Entity | None  # as it is; None for a new one
    values: dict[str, Any]  # field -> new value, of those that change; of a new one all
    known: Known
    wrong: set[str] = field(default_factory=set)  # fields

    def __getitem__(self, name: str) -> Any:
        if name in self.wrong:
            raise NotToBeRead
        return self.values[name] if name in self.values else self.was(name)

    def was(self, name: str) -> Any:
        return getattr(self.row, name) if self.row is not None else None

    def changes(self, *names: str) -> bool:
        """Whether one of them is other than before; of a new entity always."""
        return self.row is None or any(name in self.values for name in names)

    def linked(self, name: str) -> Any:
        """The entity that the link leads to."""
        id_ = self[name]
        found = self.known.get(TYPES[self.kind[name].links_to], id_) if id_ is not None else None
        if found is None:
            raise NotToBeRead
        return found

    @property
    def id(self) -> int | None:
        return self.row.id if self.row is not None else None


def rule(*names: str) -> Callable[[Rule], Rule]:
    def register(made: Rule) -> Rule:
        for name in names:
            _rules[name].append(made)
        return made

    return register


def broken(proposed: Proposed) -> dict[str, str]:
    """Field -> sentence."""
    errors: dict[str, str] = {}
    for each in _rules[proposed.kind.name]:
        try:
            for name, sentence in each(proposed):
                errors.setdefault(name, sentence)
        except NotToBeRead:
            continue
    return errors


@rule("customer")
def _closed_customer_stays(new: Proposed) -> Wrong:
    if new.was("bill_status") == "closed" and set(new.values) - {"notes"}:
        yield WHOLE, _CLOSED_CUSTOMER


@rule("customer")
def _accounts_close_first(new: Proposed) -> Wrong:
    if new.row is None or new.values.get("bill_status") != "closed":
        return
    open_accounts = select(func.count()).where(Account.customer_id == new.id, Account.status != "closed")
    count = new.known.session.scalar(open_accounts.select_from(Account)) or 0
    if count:
        are = "account is" if count == 1 else "accounts are"
        yield "bill_status", f"{count} {are} still open: close them before their customer."


@rule("customer")
def _new_customer_is_open(new: Proposed) -> Wrong:
    if new.row is None and new["bill_status"] in ("closed", "exported"):
        yield "bill_status", f"A new customer cannot be {new['bill_status']}."


@rule("customer")
def _exported_goes_back_to_open(new: Proposed) -> Wrong:
    if new.was("bill_status") == "exported" and new["bill_status"] not in ("exported", "open", "closed"):
        yield "bill_status", "An exported customer is opened again, or closed."


@rule("account")
def _closed_account_stays(new: Proposed) -> Wrong:
    if new.was("status") == "closed" and new.values:
        yield WHOLE, "The account is closed, which is final: make a new one instead."


@rule("account")
def _customer_of_account_is_open(new: Proposed) -> Wrong:
    if new.linked("customer_id").bill_status == "closed" and new.changes(*new.values) and new["status"] != "closed":
        where = "customer_id" if new.row is None else WHOLE
        yield where, "The customer is closed: its accounts cannot be made or changed."


@rule("account")
def _new_account_is_not_closed(new: Proposed) -> Wrong:
    if new.row is None and new["status"] == "closed":
        yield "status", "A new account cannot be closed."


@rule("account")
def _one_currency(new: Proposed) -> Wrong:
    if not new.changes("product_id"):
        return
    product, customer = new.linked("product_id"), new.linked("customer_id")
    if product.currency != customer.currency:
        yield "product_id", f"{product.name} is in {product.currency}, the customer in {customer.currency}."


@rule("account")
def _alias_has_a_master(new: Proposed) -> Wrong:
    if new["billing_model"] != "alias":
        if new["alias_of_id"] is not None:
            yield "alias_of_id", "Only an account with the billing model alias stands for another."
        return
    if new["alias_of_id"] is None:
        yield "alias_of_id", "An alias needs the account that it stands for."
        return
    master = new.linked("alias_of_id")
    if new.id is not None and master.id == new.id:
        yield "alias_of_id", "An account is no alias of itself."
    elif master.billing_model == "alias":
        yield "alias_of_id", f"{master.told_as()} is an alias itself: name the account that it stands for."
    elif master.customer_id != new["customer_id"]:
        yield "alias_of_id", f"{master.told_as()} is of another customer."
    elif master.status == "closed" and new.changes("alias_of_id"):
        yield "alias_of_id", f"{master.told_as()} is closed."


@rule("account")
def _active_before_it_expires(new: Proposed) -> Wrong:
    yield from _in_order(new, "activation_date", "expiration_date")


@rule("account_add_on")
def _add_on_in_order(new: Proposed) -> Wrong:
    yield from _in_order(new, "effective_from", "effective_to")


@rule("account_add_on")
def _add_on_is_no_main_product(new: Proposed) -> Wrong:
    if new.changes("product_id", "account_id") and new.linked("account_id").product_id == new["product_id"]:
        yield "product_id", "This is the account's main product already."


@rule("account_add_on")
def _add_on_in_the_same_currency(new: Proposed) -> Wrong:
    product = new.linked("product_id")
    customer = new.known.get(TYPES["customer"], new.linked("account_id").customer_id)
    if customer is not None and product.currency != customer.currency:
        yield "product_id", f"{product.name} is in {product.currency}, the customer in {customer.currency}."


@rule("account_add_on")
def _add_on_once_at_a_time(new: Proposed) -> Wrong:
    if not new.changes("effective_from", "effective_to"):
        return
    start, end = new["effective_from"], new["effective_to"]
    others = select(AddOn).where(AddOn.account_id == new["account_id"], AddOn.product_id == new["product_id"])
    with new.known.session.no_autoflush:
        for other in new.known.session.scalars(others):
            before = other.effective_to is not None and start is not None and other.effective_to < start
            after = end is not None and end < other.effective_from
            if other.id != new.id and not before and not after:
                yield "effective_from", f"The account has this add-on from {other.effective_from} already."


@rule("account_add_on", "account_commitment", "did_number", "sim_card")
def _account_is_open(new: Proposed) -> Wrong:
    if new.changes("account_id") and new.linked("account_id").status == "closed":
        yield "account_id", f"{new.linked('account_id').told_as()} is closed."


@rule("account_commitment")
def _commitment_in_order(new: Proposed) -> Wrong:
    yield from _in_order(new, "assigned_from", "assigned_to")


@rule("did_number")
def _did_number_of_an_account(new: Proposed) -> Wrong:
    state, account = new["state"], new["account_id"]
    if state == "assigned" and account is None:
        yield "account_id", "An assigned number needs its account."
    elif state == "free" and account is not None:
        yield "state", "A free number has no account: take the account away, or say assigned."


@rule("sim_card")
def _sim_card_of_an_account(new: Proposed) -> Wrong:
    status, account = new["status"], new["account_id"]
    if status == "in_use" and account is None:
        yield "account_id", "A SIM card in use needs its account."
    elif status in ("available", "disposed") and account is not None:
        yield "status", f"A SIM card that is {status} has no account: take the account away, or say in use."


@rule("sim_card")
def _disposed_stays(new: Proposed) -> Wrong:
    if new.was("status") == "disposed" and new["status"] != "disposed":
        yield "status", "A SIM card that was disposed of is not used again."


@rule("cpe")
def _customer_of_cpe_is_open(new: Proposed) -> Wrong:
    if new.changes("customer_id") and new.linked("customer_id").bill_status == "closed":
        yield "customer_id", "The customer is closed."


@rule("cpe")
def _profile_is_of_the_model(new: Proposed) -> Wrong:
    profile = new.linked("profile_id")
    if new.changes("profile_id", "model") and profile.model.lower() != new["model"].lower():
        yield "profile_id", f"{profile.name} is of the model {profile.model}."


@rule("rating_entry")
def _tariff_fits_the_product(new: Proposed) -> Wrong:
    product, tariff = new.linked("product_id"), new.linked("tariff_id")
    if product.currency != tariff.currency:
        yield "tariff_id", f"{tariff.name} is in {tariff.currency}, the product in {product.currency}."
    elif tariff.service != new["service"]:
        label = dict(TYPES["tariff"]["service"].choices)[tariff.service]
        yield "tariff_id", f"{tariff.name} is a tariff of another service: {label}."


@rule("tariff")
def _service_of_a_used_tariff_stays(new: Proposed) -> Wrong:
    if new.row is None or not new.changes("service"):
        return
    from ringback.billing.entities.models import RatingEntry

    used = (
        select(RatingEntry.id).where(RatingEntry.tariff_id == new.id, RatingEntry.service != new["service"]).limit(1)
    )
    if new.known.session.scalar(used) is not None:
        yield "service", "Products rate their service by this tariff: make a tariff of its own for the other service."


@rule("connection")
def _tariff_of_the_service(new: Proposed) -> Wrong:
    tariff = new.linked("tariff_id")
    if tariff.service != new["service"]:
        yield "tariff_id", f"{tariff.name} is a tariff of another service."


@rule("access_policy")
def _speeds_in_order(new: Proposed) -> Wrong:
    regular, turbo, limited = new["regular_speed"], new["turbo_speed"], new["limited_speed"]
    if regular is not None and turbo is not None and turbo < regular:
        yield "turbo_speed", "The turbo speed is not below the regular one."
    if regular is not None and limited is not None and limited > regular:
        yield "limited_speed", "The limited speed is not above the regular one."


@rule("environment")
def _key_is_not_reserved(new: Proposed) -> Wrong:
    if new.row is None and new["key"] in RESERVED_ENVIRONMENTS:
        yield "key", f"{new['key']} is a word of Ringback's own: choose another."


@rule("environment")
def _key_was_nobodys(new: Proposed) -> Wrong:
    """Sessions, log lines and audit records stay under the key of an environment that was deleted."""
    taken = new.row is None and new.known.taken(new.kind, ("key",), (new["key"],))
    if new.row is None and not taken and has_history(new.known.session, new["key"]):
        yield "key", f"An environment {new['key']} was here before, and its audit log still is: choose another key."


@rule("environment")
def _default_stays_active(new: Proposed) -> Wrong:
    if new.was("key") == DEFAULT_ENVIRONMENT and not new["active"]:
        yield "active", "The default environment stays active: traffic and people without a rule are its."


@rule("node")
def _node_has_senders(new: Proposed) -> Wrong:
    if not new["agents"] and not new["addresses"]:
        yield "addresses", "Give at least one capture id or address: without it no packet is this node's."
    elif len(new["agents"]) + len(new["addresses"]) > MOST_WORDS:
        yield "addresses", f"A node has at most {MOST_WORDS} capture ids and addresses."


@rule("node")
def _sender_is_one_nodes(new: Proposed) -> Wrong:
    for kind, name in KINDS:
        found = owners(new.known.session, new.known.environment, kind, new[name]) if new.changes(name) else {}
        taken = [(value, owner) for value, (id_, owner) in sorted(found.items()) if id_ != new.id]
        for value, owner in taken[:1]:
            yield name, f"{value} belongs to the node {owner} already."


def in_the_way(row: Entity) -> str:
    """Why an entity is not deleted, of what it says itself; "" nothing. What links to it is another question."""
    match row.about.name:
        case "customer" if isinstance(row, Customer) and row.balance:
            return f"Its balance is {row.balance.normalize():f} {row.currency}: settle it, or close the customer instead."
        case "account" if isinstance(row, Account) and row.balance:
            return f"Its balance is {row.balance.normalize():f}: settle it, or close the account instead."
        case "did_number" if getattr(row, "state", "") == "assigned":
            return "It is assigned to an account: make it free first."
        case "sim_card" if getattr(row, "status", "") == "in_use":
            return "It is in use: take it from its account first."
        case "environment" if getattr(row, "key", "") == DEFAULT_ENVIRONMENT:
            return "The default environment stays."
    return ""


def _in_order(new: Proposed, first: str, last: str) -> Wrong:
    start, end = new[first], new[last]
    if start is not None and end is not None and end < start:
        yield last, f"{new.kind[last].label} is not before {new.kind[first].label.lower()} ({start})."
