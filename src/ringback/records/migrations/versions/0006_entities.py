"""Customers, accounts, products, tariffs and what belongs to them; nodes become entities. The environments that records
name get rows of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op

from ringback import clock

revision = "0006"
down_revision = "0005"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.BigInteger()  # microseconds since the epoch, UTC
_MONEY = sa.BigInteger()  # 1/100000 of the currency's unit
_TABLES = (  # those that others refer to last
    "sim_cards",
    "did_numbers",
    "account_commitments",
    "account_add_ons",
    "rating_entries",
    "accounts",
    "rates",
    "products",
    "cpe",
    "connections",
    "tariffs",
    "environments",
    "customers",
    "cpe_profiles",
    "access_policies",
)
_COLUMNS = ("hostname", "agents", "addresses", "active", "version")  # that nodes get
_NOT_OURS = ("unassigned", "installation")
_IDS_ONCE: dict[str, Any] = {"sqlite_autoincrement": True}


def upgrade() -> None:
    named = _environments_named()
    _create(
        "access_policies",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("regular_speed", sa.BigInteger(), nullable=True),
        sa.Column("turbo_speed", sa.BigInteger(), nullable=True),
        sa.Column("limited_speed", sa.BigInteger(), nullable=True),
        sa.Column("blocked_speed", sa.BigInteger(), nullable=True),
        sa.Column("schedule", sa.String(255), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.UniqueConstraint("environment", "name", name=op.f("uq_access_policies_environment_name")),
    )
    _create(
        "cpe_profiles",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("effective_from", _TIME, nullable=True),
        sa.UniqueConstraint("environment", "name", name=op.f("uq_cpe_profiles_environment_name")),
    )
    _create(
        "customers",
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("customer_class", sa.String(64), nullable=False),
        sa.Column("currency", sa.String(32), nullable=False),
        sa.Column("balance_control", sa.String(32), nullable=False),
        sa.Column("balance", _MONEY, nullable=False),
        sa.Column("credit_limit", _MONEY, nullable=True),
        sa.Column("billing_period", sa.String(32), nullable=False),
        sa.Column("due_days", sa.BigInteger(), nullable=False),
        sa.Column("blocked", sa.Boolean(), nullable=False),
        sa.Column("bill_status", sa.String(32), nullable=False),
        sa.Column("limited", sa.Boolean(), nullable=False),
        sa.Column("suspension_delayed_until", sa.Date(), nullable=True),
        sa.Column("company", sa.String(120), nullable=False),
        sa.Column("first_name", sa.String(60), nullable=False),
        sa.Column("last_name", sa.String(60), nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("phone", sa.String(32), nullable=False),
        sa.Column("address", sa.String(255), nullable=False),
        sa.Column("city", sa.String(80), nullable=False),
        sa.Column("postal_code", sa.String(16), nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("external_id", sa.String(64), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.UniqueConstraint("environment", "name", name=op.f("uq_customers_environment_name")),
    )
    _create(
        "environments",
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("key", sa.String(63), nullable=False),
        sa.Column("currency", sa.String(32), nullable=False),
        sa.Column("time_zone", sa.String(64), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("customer_link", sa.String(1000), nullable=False),
        sa.Column("account_link", sa.String(1000), nullable=False),
        sa.Column("ticket_link", sa.String(1000), nullable=False),
        sa.UniqueConstraint("environment", name=op.f("uq_environments_environment")),
    )
    _create(
        "tariffs",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("service", sa.String(32), nullable=False),
        sa.Column("currency", sa.String(32), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.UniqueConstraint("environment", "name", name=op.f("uq_tariffs_environment_name")),
    )
    _create(
        "connections",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("vendor", sa.String(64), nullable=False),
        sa.Column("direction", sa.String(32), nullable=False),
        sa.Column("service", sa.String(32), nullable=False),
        sa.Column("address", sa.String(255), nullable=False),
        sa.Column("capacity", sa.BigInteger(), nullable=True),
        sa.Column("tariff_id", _ID, nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["tariff_id"], ["tariffs.id"], name=op.f("fk_connections_tariff_id")),
        sa.UniqueConstraint("environment", "name", name=op.f("uq_connections_environment_name")),
    )
    op.create_index(op.f("ix_connections_tariff_id"), "connections", ["tariff_id"])
    _create(
        "cpe",
        sa.Column("device_id", sa.String(64), nullable=False),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("profile_id", _ID, nullable=True),
        sa.Column("mac", sa.String(17), nullable=False),
        sa.Column("customer_id", _ID, nullable=True),
        sa.Column("ports", sa.BigInteger(), nullable=False),
        sa.Column("admin_password", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_cpe_customer_id")),
        sa.ForeignKeyConstraint(["profile_id"], ["cpe_profiles.id"], name=op.f("fk_cpe_profile_id")),
        sa.UniqueConstraint("environment", "device_id", name=op.f("uq_cpe_environment_device_id")),
    )
    op.create_index(op.f("ix_cpe_customer_id"), "cpe", ["customer_id"])
    op.create_index(op.f("ix_cpe_profile_id"), "cpe", ["profile_id"])
    _create(
        "products",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("currency", sa.String(32), nullable=False),
        sa.Column("subscription_fee", _MONEY, nullable=True),
        sa.Column("access_policy_id", _ID, nullable=True),
        sa.Column("description", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["access_policy_id"], ["access_policies.id"], name=op.f("fk_products_access_policy_id")
        ),
        sa.UniqueConstraint("environment", "name", name=op.f("uq_products_environment_name")),
    )
    op.create_index(op.f("ix_products_access_policy_id"), "products", ["access_policy_id"])
    _create(
        "rates",
        sa.Column("tariff_id", _ID, nullable=False),
        sa.Column("prefix", sa.String(20), nullable=False),
        sa.Column("destination", sa.String(120), nullable=False),
        sa.Column("forbidden", sa.Boolean(), nullable=False),
        sa.Column("price_first", _MONEY, nullable=False),
        sa.Column("price_next", _MONEY, nullable=False),
        sa.Column("interval_first", sa.BigInteger(), nullable=False),
        sa.Column("interval_next", sa.BigInteger(), nullable=False),
        sa.Column("effective_from", _TIME, nullable=False),
        sa.CheckConstraint("interval_first > 0 AND interval_next > 0", name=op.f("ck_rates_intervals")),
        sa.ForeignKeyConstraint(["tariff_id"], ["tariffs.id"], name=op.f("fk_rates_tariff_id")),
        sa.UniqueConstraint(
            "environment",
            "tariff_id",
            "prefix",
            "effective_from",
            name=op.f("uq_rates_environment_tariff_id_prefix_effective_from"),
        ),
    )
    op.create_index(op.f("ix_rates_tariff_id"), "rates", ["tariff_id"])
    _create(
        "accounts",
        sa.Column("charging_id", sa.String(64), nullable=False),
        sa.Column("customer_id", _ID, nullable=False),
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("billing_model", sa.String(32), nullable=False),
        sa.Column("alias_of_id", _ID, nullable=True),
        sa.Column("role", sa.String(64), nullable=False),
        sa.Column("balance", _MONEY, nullable=False),
        sa.Column("credit_limit", _MONEY, nullable=True),
        sa.Column("access_policy_id", _ID, nullable=True),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("blocked", sa.Boolean(), nullable=False),
        sa.Column("activation_date", sa.Date(), nullable=True),
        sa.Column("expiration_date", sa.Date(), nullable=True),
        sa.Column("service_password", sa.Text(), nullable=True),
        sa.Column("allowed_addresses", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["access_policy_id"], ["access_policies.id"], name=op.f("fk_accounts_access_policy_id")
        ),
        sa.ForeignKeyConstraint(["alias_of_id"], ["accounts.id"], name=op.f("fk_accounts_alias_of_id")),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_accounts_customer_id")),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_accounts_product_id")),
        sa.UniqueConstraint("environment", "charging_id", name=op.f("uq_accounts_environment_charging_id")),
    )
    op.create_index(op.f("ix_accounts_access_policy_id"), "accounts", ["access_policy_id"])
    op.create_index(op.f("ix_accounts_alias_of_id"), "accounts", ["alias_of_id"])
    op.create_index(op.f("ix_accounts_customer_id"), "accounts", ["customer_id"])
    op.create_index(op.f("ix_accounts_product_id"), "accounts", ["product_id"])
    _create(
        "rating_entries",
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("service", sa.String(32), nullable=False),
        sa.Column("direction", sa.String(32), nullable=False),
        sa.Column("node_id", _ID, nullable=True),
        sa.Column("tariff_id", _ID, nullable=False),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name=op.f("fk_rating_entries_node_id")),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_rating_entries_product_id")),
        sa.ForeignKeyConstraint(["tariff_id"], ["tariffs.id"], name=op.f("fk_rating_entries_tariff_id")),
        sa.UniqueConstraint(
            "environment",
            "product_id",
            "service",
            "direction",
            "node_id",
            name="uq_rating_entries_node",
        ),
    )
    op.create_index(op.f("ix_rating_entries_node_id"), "rating_entries", ["node_id"])
    op.create_index(op.f("ix_rating_entries_product_id"), "rating_entries", ["product_id"])
    op.create_index(op.f("ix_rating_entries_tariff_id"), "rating_entries", ["tariff_id"])
    op.create_index(
        "uq_rating_entries_any_node",
        "rating_entries",
        ["environment", "product_id", "service", "direction"],
        unique=True,
        sqlite_where=sa.text("node_id IS NULL"),
        postgresql_where=sa.text("node_id IS NULL"),
    )
    _create(
        "account_add_ons",
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("product_id", _ID, nullable=False),
        sa.Column("effective_from", sa.Date(), nullable=False),
        sa.Column("effective_to", sa.Date(), nullable=True),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_account_add_ons_account_id")),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_account_add_ons_product_id")),
    )
    op.create_index(op.f("ix_account_add_ons_account_id"), "account_add_ons", ["account_id"])
    op.create_index(op.f("ix_account_add_ons_product_id"), "account_add_ons", ["product_id"])
    _create(
        "account_commitments",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("fee", _MONEY, nullable=False),
        sa.Column("minimum_term", sa.BigInteger(), nullable=False),
        sa.Column("penalty", _MONEY, nullable=True),
        sa.Column("assigned_from", sa.Date(), nullable=False),
        sa.Column("assigned_to", sa.Date(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_account_commitments_account_id")),
    )
    op.create_index(op.f("ix_account_commitments_account_id"), "account_commitments", ["account_id"])
    _create(
        "did_numbers",
        sa.Column("number", sa.String(20), nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("area", sa.String(64), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("account_id", _ID, nullable=True),
        sa.Column("setup_fee", _MONEY, nullable=True),
        sa.Column("periodic_fee", _MONEY, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_did_numbers_account_id")),
        sa.UniqueConstraint("environment", "number", name=op.f("uq_did_numbers_environment_number")),
    )
    op.create_index(op.f("ix_did_numbers_account_id"), "did_numbers", ["account_id"])
    _create(
        "sim_cards",
        sa.Column("iccid", sa.String(20), nullable=False),
        sa.Column("imsi", sa.String(15), nullable=False),
        sa.Column("account_id", _ID, nullable=True),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("ki", sa.Text(), nullable=True),
        sa.Column("opc", sa.Text(), nullable=True),
        sa.Column("pin1", sa.Text(), nullable=True),
        sa.Column("puk1", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_sim_cards_account_id")),
        sa.UniqueConstraint("environment", "iccid", name=op.f("uq_sim_cards_environment_iccid")),
        sa.UniqueConstraint("environment", "imsi", name=op.f("uq_sim_cards_environment_imsi")),
    )
    op.create_index(op.f("ix_sim_cards_account_id"), "sim_cards", ["account_id"])
    _seed_environments(named)
    _upgrade_nodes()


def downgrade() -> None:
    _downgrade_nodes()
    for table in _TABLES:
        op.drop_table(table)


def _create(table: str, *columns: Any) -> None:
    """With what every entity has. SQLite, too, gives no id a second time: audit records name entities by it."""
    op.create_table(
        table,
        sa.Column("id", _ID, nullable=False),
        sa.Column("environment", sa.String(64), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        **_IDS_ONCE,
    )


def _environments_named() -> list[str]:
    """By the records there are, and the default."""
    connection = op.get_bind()
    found = {"default"}
    for table in sa.inspect(connection).get_table_names():
        columns = {column["name"] for column in sa.inspect(connection).get_columns(table)}
        if "environment" in columns:
            named = sa.select(sa.column("environment", sa.String())).select_from(sa.table(table)).distinct()
            found |= set(connection.execute(named).scalars())
    return sorted(found - {None, "", *_NOT_OURS})


def _seed_environments(named: list[str]) -> None:
    table = sa.table(
        "environments",
        *map(
            sa.column,
            ("environment", "key", "name", "currency", "time_zone", "active", "customer_link", "account_link"),
        ),
        *map(sa.column, ("ticket_link", "created_at", "version")),
    )
    now = clock.now_us()
    rows = [
        {
            "environment": key, "key": key, "name": "Default" if key == "default" else key, "currency": "USD",
            "time_zone": "UTC", "active": True, "customer_link": "", "account_link": "", "ticket_link": "",
            "created_at": now, "version": 1,
        }
        for key in named
    ]  # fmt: skip
    op.bulk_insert(table, rows)


@contextmanager
def _keeping_senders() -> Iterator[list[dict[str, Any]]]:
    """SQLite makes a table anew to change it, and its rows go with the old one's: they are put back."""
    table = sa.table("node_senders", *map(sa.column, ("id", "environment", "node_id", "kind", "value")))
    connection = op.get_bind()
    rows = [dict(row) for row in connection.execute(sa.select(table).order_by(table.c.value)).mappings()]
    yield rows
    connection.execute(sa.delete(table))
    op.bulk_insert(table, rows)


def _upgrade_nodes() -> None:
    with _keeping_senders() as senders:
        _add_columns()
    values: dict[tuple[int, str], list[str]] = {}
    for row in senders:
        values.setdefault((row["node_id"], row["kind"]), []).append(row["value"])
    for (node, kind), given in values.items():
        field = "agents" if kind == "agent" else "addresses"
        nodes = sa.table("nodes", sa.column("id"), sa.column(field, sa.JSON))
        op.get_bind().execute(sa.update(nodes).where(nodes.c.id == node).values({field: given}))


def _add_columns() -> None:
    with op.batch_alter_table("nodes", table_kwargs=_IDS_ONCE) as batch:
        batch.alter_column("kind", existing_type=sa.String(16), type_=sa.String(32), existing_nullable=False)
        batch.alter_column("changed_at", new_column_name="created_at", existing_type=_TIME, existing_nullable=False)
        batch.add_column(sa.Column("hostname", sa.String(255), nullable=False, server_default=""))
        batch.add_column(sa.Column("agents", sa.JSON(), nullable=False, server_default="[]"))
        batch.add_column(sa.Column("addresses", sa.JSON(), nullable=False, server_default="[]"))
        batch.add_column(sa.Column("active", sa.Boolean(), nullable=False, server_default=sa.true()))
        batch.add_column(sa.Column("version", sa.BigInteger(), nullable=False, server_default="1"))
    with op.batch_alter_table("nodes", table_kwargs=_IDS_ONCE) as batch:
        for name in _COLUMNS:
            batch.alter_column(name, server_default=None)


def _downgrade_nodes() -> None:
    with _keeping_senders(), op.batch_alter_table("nodes") as batch:
        for name in _COLUMNS:
            batch.drop_column(name)
        batch.alter_column("created_at", new_column_name="changed_at", existing_type=_TIME, existing_nullable=False)
        batch.alter_column("kind", existing_type=sa.String(32), type_=sa.String(16), existing_nullable=False)
