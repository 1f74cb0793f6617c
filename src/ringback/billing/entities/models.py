"""The entities' tables. Each column describes itself (`fields`); the descriptions are the product's only list of fields."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, Index, UniqueConstraint
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, object_session

from ringback.billing.entities import checks
from ringback.billing.entities.addresses import keep_index
from ringback.billing.entities.fields import (
    About,
    Entity,
    choice,
    day,
    describe,
    digits,
    email,
    flag,
    link,
    long,
    moment,
    money,
    pairs,
    secret,
    text,
    whole,
    words,
)  # fmt: skip
from ringback.billing.entities.node import Node
from ringback.changes.schemas import Owner

BILLING_PERIODS = (
    ("daily", "Daily"), ("weekly", "Weekly"), ("semimonthly", "Semimonthly"), ("monthly", "Monthly"),
    ("monthly_anniversary", "Monthly, anniversary"), ("30_days", "30 days"),
)  # fmt: skip
SERVICES = (("voice", "Voice calls"), ("messaging", "Messages"), ("data", "Internet access"), ("iptv", "IPTV"))


class Environment(Entity):
    """A tenant. Its `environment` is its own key, the one that every record of it carries."""

    __tablename__ = "environments"
    __table_args__ = (UniqueConstraint("environment"),)
    about = About(
        "environment", "Environment", "Environments", "environments", "i_env", "name", "environments",
        "A tenant of this installation: its customers, traffic and people are apart from all others.",
    )  # fmt: skip

    name: Mapped[str] = text("Name", 120, required=True, listed=True, searched=True)
    key: Mapped[str] = text(
        "Key", 63, required=True, unique=True, listed=True, searched=True, fixed=True, check=checks.key,
        help="Short name in URLs, headers and exports; cannot be changed later.",
    )  # fmt: skip
    currency: Mapped[str] = choice("Currency", checks.CURRENCIES, listed=True, fixed=True)
    time_zone: Mapped[str] = text(
        "Time zone",
        64,
        required=True,
        listed=True,
        check=checks.time_zone,
        help="In which days and billing periods end.",
    )
    active: Mapped[bool] = flag("Active", default=True, listed=True, filtered=True)
    customer_link: Mapped[str] = text(
        "Link of a customer", 1000, section="Systems beside ours", check=checks.link_template,
        help="URL of a customer in your CRM; {id}, {name} and {environment} are filled in.",
    )  # fmt: skip
    account_link: Mapped[str] = text(
        "Link of an account", 1000, section="Systems beside ours", check=checks.link_template
    )
    ticket_link: Mapped[str] = text(
        "Link to make a ticket", 1000, section="Systems beside ours", check=checks.link_template,
        help="Stands beside audit records; {id} is the record's, {name} its entity's.",
    )  # fmt: skip


class Customer(Entity):
    __tablename__ = "customers"
    __table_args__ = (UniqueConstraint("environment", "name"),)
    about = About(
        "customer", "Customer", "Customers", "customers", "i_customer", "name", "customers",
        "Who is billed: a person or company with its accounts, balance and invoices.",
    )  # fmt: skip

    name: Mapped[str] = text("Name", 120, required=True, unique=True, listed=True, searched=True, personal="name")
    customer_class: Mapped[str] = text("Class", 64, listed=True, filtered=True, help="Whose taxes and terms apply.")
    currency: Mapped[str] = choice("Currency", checks.CURRENCIES, listed=True, filtered=True, fixed=True)
    balance_control: Mapped[str] = choice(
        "Balance control", (("postpaid", "Postpaid"), ("prepaid", "Prepaid")), default="postpaid", filtered=True
    )
    balance: Mapped[Decimal] = money(
        "Balance", required=True, kept=True, default=Decimal(0), listed=True, help="Positive: the customer owes."
    )
    credit_limit: Mapped[Decimal | None] = money("Credit limit", least=0, help="Empty: none.")
    billing_period: Mapped[str] = choice("Billing period", BILLING_PERIODS, default="monthly", filtered=True)
    due_days: Mapped[int] = whole(
        "Days until due",
        required=True,
        default=14,
        least=0,
        most=365,
        unit="days",
        help="From the date of an invoice.",
    )
    blocked: Mapped[bool] = flag("Blocked", section="Status", filtered=True)
    bill_status: Mapped[str] = choice(
        "Bill status",
        (("open", "Open"), ("suspended", "Suspended"), ("deactivated", "Deactivated"), ("exported", "Exported"),
         ("closed", "Closed")),
        default="open", section="Status", filtered=True,
    )  # fmt: skip
    limited: Mapped[bool] = flag("Limited", section="Status", help="Services are reduced, not ended.")
    suspension_delayed_until: Mapped[date | None] = day("Suspension delayed until", section="Status")
    company: Mapped[str] = text("Company", 120, section="Contact", personal="name", searched=True)
    first_name: Mapped[str] = text("First name", 60, section="Contact", personal="name")
    last_name: Mapped[str] = text("Last name", 60, section="Contact", personal="name", searched=True)
    email: Mapped[str] = email("E-mail", section="Contact", personal="email", searched=True)
    phone: Mapped[str] = text("Phone", 32, section="Contact", personal="number", searched=True)
    address: Mapped[str] = text("Address", 255, section="Contact", personal="address")
    city: Mapped[str] = text("City", 80, section="Contact", personal="address")
    postal_code: Mapped[str] = text("Postal code", 16, section="Contact", personal="address")
    country: Mapped[str] = text("Country", 2, section="Contact", check=checks.country)
    external_id: Mapped[str] = text("Id in other systems", 64, section="Contact", searched=True)
    notes: Mapped[str] = long("Notes", section="Contact", personal="text")

    def owner(self) -> Owner:
        return Owner(self.environment, self.id)


class AccessPolicy(Entity):
    __tablename__ = "access_policies"
    __table_args__ = (UniqueConstraint("environment", "name"),)
    about = About(
        "access_policy", "Access policy", "Access policies", "access-policies", "i_access_policy", "name", "catalogue",
        "Speeds of internet access, and what network devices are told of them.",
    )  # fmt: skip

    name: Mapped[str] = text("Name", 64, required=True, unique=True, listed=True, searched=True)
    regular_speed: Mapped[int | None] = whole("Regular speed", least=0, unit="kbit/s", listed=True)
    turbo_speed: Mapped[int | None] = whole("Turbo speed", least=0, unit="kbit/s", listed=True)
    limited_speed: Mapped[int | None] = whole("Limited speed", least=0, unit="kbit/s", listed=True)
    blocked_speed: Mapped[int | None] = whole("Blocked speed", least=0, unit="kbit/s", listed=True)
    schedule: Mapped[str] = text("Schedule", 255, help="When turbo applies, such as Mo-Fr 22:00-06:00.")
    attributes: Mapped[dict[str, str]] = pairs("Attributes by vendor", help="Such as Mikrotik-Rate-Limit = 10M/2M.")


class Tariff(Entity):
    __tablename__ = "tariffs"
    __table_args__ = (UniqueConstraint("environment", "name"),)
    about = About(
        "tariff", "Tariff", "Tariffs", "tariffs", "i_tariff", "name", "catalogue",
        "A list of rates: what each destination costs, and which are forbidden.",
    )  # fmt: skip

    name: Mapped[str] = text("Name", 64, required=True, unique=True, listed=True, searched=True)
    service: Mapped[str] = choice("Service", SERVICES, default="voice", listed=True, filtered=True)
    currency: Mapped[str] = choice("Currency", checks.CURRENCIES, listed=True, filtered=True, fixed=True)
    description: Mapped[str] = long("Description")


class Rate(Entity):
    """The longest prefix wins; of one prefix the last that is effective."""

    __tablename__ = "rates"
    __table_args__ = (
        UniqueConstraint("environment", "tariff_id", "prefix", "effective_from"),
        CheckConstraint("interval_first > 0 AND interval_next > 0", name="intervals"),
    )
    about = About(
        "rate", "Rate", "Rates", "rates", "i_rate", "prefix", "catalogue",
        "What calls to a destination cost, from when on.", key=("tariff_id", "prefix", "effective_from"),
    )  # fmt: skip

    tariff_id: Mapped[int] = link(
        "Tariff", "tariff", "tariffs", required=True, api_name="i_tariff", listed=True, filtered=True, fixed=True
    )
    prefix: Mapped[str] = digits(
        "Destination prefix",
        20,
        listed=True,
        searched=True,
        check=checks.prefix,
        help="Digits after the +; empty: all others.",
    )
    destination: Mapped[str] = text("Destination", 120, listed=True, searched=True)
    forbidden: Mapped[bool] = flag("Forbidden", listed=True, filtered=True)
    price_first: Mapped[Decimal] = money(
        "Price, first interval", required=True, least=0, unit="a minute", listed=True
    )
    price_next: Mapped[Decimal] = money("Price, next intervals", required=True, least=0, unit="a minute", listed=True)
    interval_first: Mapped[int] = whole("First interval", required=True, default=60, least=1, most=86_400, unit="s")
    interval_next: Mapped[int] = whole("Next intervals", required=True, default=60, least=1, most=86_400, unit="s")
    effective_from: Mapped[datetime] = moment("Effective from", required=True, listed=True)

    def told_as(self) -> str:
        return self.prefix or "all other destinations"


class Product(Entity):
    __tablename__ = "products"
    __table_args__ = (UniqueConstraint("environment", "name"),)
    about = About(
        "product", "Product", "Products", "products", "i_product", "name", "catalogue",
        "What an account subscribes to: services, their tariffs and a fee.",
    )  # fmt: skip

    name: Mapped[str] = text("Name", 64, required=True, unique=True, listed=True, searched=True)
    currency: Mapped[str] = choice("Currency", checks.CURRENCIES, listed=True, filtered=True, fixed=True)
    subscription_fee: Mapped[Decimal | None] = money("Subscription fee", least=0, unit="a period", listed=True)
    simultaneous_calls: Mapped[int | None] = whole(
        "Calls at once",
        least=1,
        most=100_000,
        unit="calls",
        help="Of each account. Empty: Engine.Simultaneous_Calls.",
    )
    access_policy_id: Mapped[int | None] = link(
        "Default access policy", "access_policy", "access_policies", api_name="i_access_policy"
    )
    description: Mapped[str] = long("Description")


class Account(Entity):
    __tablename__ = "accounts"
    __table_args__ = (UniqueConstraint("environment", "charging_id"),)
    about = About(
        "account", "Account", "Accounts", "accounts", "i_account", "charging_id", "customers",
        "What is charged: usually a phone number, with its product and balance.",
    )  # fmt: skip

    charging_id: Mapped[str] = text(
        "Account ID", 64, required=True, unique=True, listed=True, searched=True, personal="number", api_name="id",
        help="How nodes know it: usually the phone number.",
    )  # fmt: skip
    customer_id: Mapped[int] = link(
        "Customer",
        "customer",
        "customers",
        required=True,
        api_name="i_customer",
        listed=True,
        filtered=True,
        fixed=True,
    )
    product_id: Mapped[int] = link(
        "Product", "product", "products", required=True, api_name="i_product", listed=True, filtered=True
    )
    billing_model: Mapped[str] = choice(
        "Billing model",
        (("debit", "Debit"), ("credit", "Credit"), ("voucher", "Voucher"), ("alias", "Alias"),
         ("beneficiary", "Beneficiary")),
        default="credit", listed=True, filtered=True, fixed=True,
    )  # fmt: skip
    alias_of_id: Mapped[int | None] = link(
        "Alias of", "account", "accounts", api_name="i_master_account", help="The account that an alias stands for."
    )
    role: Mapped[str] = text("Role", 64, help="Such as phone line, mobile, fax, trunk.")
    balance: Mapped[Decimal] = money("Balance", required=True, kept=True, default=Decimal(0), listed=True)
    credit_limit: Mapped[Decimal | None] = money("Credit limit", least=0, help="Empty: the customer's.")
    simultaneous_calls: Mapped[int | None] = whole(
        "Calls at once", least=1, most=100_000, unit="calls", help="Empty: the product's."
    )
    access_policy_id: Mapped[int | None] = link(
        "Access policy", "access_policy", "access_policies", api_name="i_access_policy", help="Empty: the product's."
    )
    status: Mapped[str] = choice(
        "Status",
        (("active", "Active"), ("suspended", "Suspended"), ("limited", "Limited"), ("inactive", "Inactive"),
         ("quarantine", "Quarantine"), ("screening", "Screening"), ("frozen", "Frozen"), ("closed", "Closed")),
        default="active", section="Status", filtered=True,
    )  # fmt: skip
    blocked: Mapped[bool] = flag("Blocked", section="Status", filtered=True)
    activation_date: Mapped[date | None] = day("Active from", section="Status")
    expiration_date: Mapped[date | None] = day("Expires after", section="Status")
    service_password: Mapped[str | None] = secret(
        "Service password", "accounts.service_password", 64, section="Access", help="With which phones register."
    )
    allowed_addresses: Mapped[list[str]] = words(
        "Addresses it calls from", section="Access", check=checks.address, help="Without a password; one a line.",
        personal="address",
    )  # fmt: skip

    def owner(self) -> Owner:
        return Owner(self.environment, self.customer_id, self.id)


keep_index(Account)


class RatingEntry(Entity):
    """Which tariff rates a service of a product; the entry that names node and direction goes before the one that does not."""

    __tablename__ = "rating_entries"
    __table_args__ = (
        UniqueConstraint("environment", "product_id", "service", "direction", "node_id", name="uq_rating_entries_node"),
        Index(
            "uq_rating_entries_any_node", "environment", "product_id", "service", "direction",
            unique=True, sqlite_where=sql("node_id IS NULL"), postgresql_where=sql("node_id IS NULL"),
        ),
    )  # fmt: skip
    about = About(
        "rating_entry", "Rating entry", "Rating entries", "rating-entries", "i_rating_entry", "service", "catalogue",
        "Which tariff a product's service is rated by.", key=("product_id", "service", "direction", "node_id"),
    )  # fmt: skip

    product_id: Mapped[int] = link(
        "Product", "product", "products", required=True, api_name="i_product", listed=True, filtered=True, fixed=True
    )
    service: Mapped[str] = choice("Service", SERVICES, default="voice", listed=True, filtered=True)
    direction: Mapped[str] = choice(
        "Direction", (("any", "Any"), ("outgoing", "Outgoing"), ("incoming", "Incoming"), ("forwarded", "Forwarded")),
        default="any", listed=True,
    )  # fmt: skip
    node_id: Mapped[int | None] = link("Node", "node", "nodes", api_name="i_node", listed=True, help="Empty: any.")
    tariff_id: Mapped[int] = link(
        "Tariff", "tariff", "tariffs", required=True, api_name="i_tariff", listed=True, filtered=True
    )


class _OfAccount:
    """What belongs to an account stands in its audit log, and in its customer's."""

    def owner(self: Any) -> Owner:
        session = object_session(self)
        account = session.get(Account, self.account_id) if session and self.account_id else None
        return Owner(self.environment, account.customer_id if account else None, self.account_id)


class AddOn(_OfAccount, Entity):
    __tablename__ = "account_add_ons"
    about = About(
        "account_add_on", "Add-on product", "Add-on products", "add-ons", "i_account_add_on", "id", "customers",
        "A product that an account has besides its main one, for a time.", key=("account_id", "product_id", "effective_from"),
    )  # fmt: skip

    account_id: Mapped[int] = link(
        "Account", "account", "accounts", required=True, api_name="i_account", listed=True, filtered=True, fixed=True
    )
    product_id: Mapped[int] = link(
        "Product", "product", "products", required=True, api_name="i_product", listed=True, filtered=True, fixed=True
    )
    effective_from: Mapped[date] = day("From", required=True, listed=True)
    effective_to: Mapped[date | None] = day("To", listed=True)
    priority: Mapped[int] = whole(
        "Priority",
        required=True,
        default=0,
        least=0,
        most=1000,
        listed=True,
        help="The greatest is asked first for a rate.",
    )


class Commitment(_OfAccount, Entity):
    __tablename__ = "account_commitments"
    about = About(
        "account_commitment", "Commitment", "Commitments", "commitments", "i_account_commitment", "name", "customers",
        "What an account has bound itself to: a fee for a minimum term.", key=("account_id", "name", "assigned_from"),
    )  # fmt: skip

    name: Mapped[str] = text("Name", 64, required=True, listed=True, searched=True)
    account_id: Mapped[int] = link(
        "Account", "account", "accounts", required=True, api_name="i_account", listed=True, filtered=True, fixed=True
    )
    fee: Mapped[Decimal] = money("Fee", required=True, least=0, unit="a period", listed=True)
    minimum_term: Mapped[int] = whole("Minimum term", required=True, least=1, most=120, unit="months", listed=True)
    penalty: Mapped[Decimal | None] = money("Penalty", least=0, help="When it ends before its term.")
    assigned_from: Mapped[date] = day("Assigned from", required=True, listed=True)
    assigned_to: Mapped[date | None] = day("Assigned to", listed=True)


class Connection(Entity):
    __tablename__ = "connections"
    __table_args__ = (UniqueConstraint("environment", "name"),)
    about = About(
        "connection", "Connection", "Connections", "connections", "i_connection", "name", "network",
        "A way to or from a vendor: an address, a service and a capacity.",
    )  # fmt: skip

    name: Mapped[str] = text("Name", 64, required=True, unique=True, listed=True, searched=True)
    vendor: Mapped[str] = text("Vendor", 64, required=True, listed=True, searched=True, filtered=True)
    direction: Mapped[str] = choice(
        "Direction", (("to_vendor", "To vendor"), ("from_vendor", "From vendor")), listed=True, filtered=True
    )
    service: Mapped[str] = choice("Service", SERVICES, default="voice", listed=True, filtered=True)
    address: Mapped[str] = text(
        "Address", 255, required=True, listed=True, searched=True, help="Host or address, with :port."
    )
    capacity: Mapped[int | None] = whole("Capacity", least=1, unit="calls", listed=True, help="Empty: not limited.")
    tariff_id: Mapped[int | None] = link(
        "Tariff", "tariff", "tariffs", api_name="i_tariff", help="What the vendor takes."
    )
    active: Mapped[bool] = flag("Active", default=True, listed=True, filtered=True)


class CpeProfile(Entity):
    __tablename__ = "cpe_profiles"
    __table_args__ = (UniqueConstraint("environment", "name"),)
    about = About(
        "cpe_profile", "CPE profile", "CPE profiles", "cpe-profiles", "i_cpe_profile", "name", "network",
        "Settings that devices of one model get.",
    )  # fmt: skip

    name: Mapped[str] = text("Name", 64, required=True, unique=True, listed=True, searched=True)
    model: Mapped[str] = text("Model", 64, required=True, listed=True, searched=True, filtered=True)
    parameters: Mapped[dict[str, str]] = pairs("Parameters")
    effective_from: Mapped[datetime | None] = moment("Effective from", listed=True)


class Cpe(Entity):
    __tablename__ = "cpe"
    __table_args__ = (UniqueConstraint("environment", "device_id"),)
    about = About(
        "cpe", "CPE", "CPE", "cpe", "i_cpe", "device_id", "customers",
        "A device at a customer: a phone, a gateway, a set-top box.",
    )  # fmt: skip

    device_id: Mapped[str] = text("Device ID", 64, required=True, unique=True, listed=True, searched=True)
    model: Mapped[str] = text("Model", 64, required=True, listed=True, searched=True, filtered=True)
    profile_id: Mapped[int | None] = link(
        "Profile", "cpe_profile", "cpe_profiles", api_name="i_cpe_profile", listed=True, filtered=True
    )
    mac: Mapped[str] = text("MAC", 17, listed=True, searched=True, check=checks.mac, personal="address")
    customer_id: Mapped[int | None] = link(
        "Customer", "customer", "customers", api_name="i_customer", listed=True, filtered=True
    )
    ports: Mapped[int] = whole("Ports", required=True, default=1, least=1, most=1024, listed=True)
    admin_password: Mapped[str | None] = secret("Administrator's password", "cpe.admin_password", 64)

    def owner(self) -> Owner:
        return Owner(self.environment, self.customer_id)


class DidNumber(_OfAccount, Entity):
    __tablename__ = "did_numbers"
    __table_args__ = (UniqueConstraint("environment", "number"),)
    about = About(
        "did_number", "DID number", "DID numbers", "did-numbers", "i_did_number", "number", "customers",
        "A number of the provider's stock that an account can be called by.",
    )  # fmt: skip

    number: Mapped[str] = digits(
        "Number", 20, required=True, unique=True, listed=True, searched=True, fixed=True, personal="number"
    )
    country: Mapped[str] = text("Country", 2, listed=True, filtered=True, check=checks.country)
    area: Mapped[str] = text("Area", 64, listed=True, searched=True)
    state: Mapped[str] = choice(
        "State", (("free", "Free"), ("assigned", "Assigned"), ("frozen", "Frozen")), default="free",
        listed=True, filtered=True,
    )  # fmt: skip
    account_id: Mapped[int | None] = link(
        "Account", "account", "accounts", api_name="i_account", listed=True, filtered=True
    )
    setup_fee: Mapped[Decimal | None] = money("Setup fee", least=0)
    periodic_fee: Mapped[Decimal | None] = money("Periodic fee", least=0, unit="a period")


class SimCard(_OfAccount, Entity):
    """Its number (MSISDN) is the account's."""

    __tablename__ = "sim_cards"
    __table_args__ = (UniqueConstraint("environment", "iccid"), UniqueConstraint("environment", "imsi"))
    about = About(
        "sim_card", "SIM card", "SIM cards", "sim-cards", "i_sim_card", "iccid", "customers",
        "A SIM of the provider's stock: free, or in a customer's device.",
    )  # fmt: skip

    iccid: Mapped[str] = digits(
        "ICCID", 20, required=True, unique=True, listed=True, searched=True, fixed=True, check=checks.iccid,
        personal="number",
    )  # fmt: skip
    imsi: Mapped[str] = digits(
        "IMSI", 15, required=True, unique=True, listed=True, searched=True, check=checks.imsi, personal="number"
    )
    account_id: Mapped[int | None] = link(
        "Account",
        "account",
        "accounts",
        api_name="i_account",
        listed=True,
        filtered=True,
        help="Its ID is the SIM's number.",
    )
    status: Mapped[str] = choice(
        "Status",
        (("available", "Available"), ("in_use", "In use"), ("reserved", "Reserved"), ("disposed", "Disposed")),
        default="available", listed=True, filtered=True,
    )  # fmt: skip
    ki: Mapped[str | None] = secret("Authentication key (Ki)", "sim_cards.ki", 32, section="Secrets")
    opc: Mapped[str | None] = secret("Operator code (OPc)", "sim_cards.opc", 32, section="Secrets")
    pin1: Mapped[str | None] = secret("PIN 1", "sim_cards.pin1", 8, section="Secrets")
    puk1: Mapped[str | None] = secret("PUK 1", "sim_cards.puk1", 8, section="Secrets")


ENTITIES: tuple[type[Entity], ...] = (
    Environment, Customer, Account, Product, RatingEntry, AddOn, Tariff, Rate, AccessPolicy, Commitment, Connection,
    Node, CpeProfile, Cpe, DidNumber, SimCard,
)  # fmt: skip
TYPES = {each.about.name: describe(each) for each in ENTITIES}  # by name
