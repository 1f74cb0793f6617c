"""Which account calls from which address: `account_addresses`, an index of `Account.allowed_addresses`, written with the
account by every flush."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, ForeignKey, Index, String, delete, event, insert
from sqlalchemy.orm import Mapped, Mapper, mapped_column
from sqlalchemy.orm.base import instance_state

from ringback.records.tables import Id, InEnvironment, Record

if TYPE_CHECKING:
    from ringback.billing.entities.models import Account


class AccountAddress(InEnvironment, Record):
    """An address or a network. Several accounts may have the same."""

    __tablename__ = "account_addresses"
    __table_args__ = (Index("ix_account_addresses_value", "environment", "value"),)

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    value: Mapped[str] = mapped_column(String(64))  # as `checks.address` spells it


def keep_index(of: type[Account]) -> None:
    event.listen(of, "after_insert", _added)
    event.listen(of, "after_update", _changed)


def _added(_mapper: Mapper[Any], connection: Connection, account: Account) -> None:
    values = dict.fromkeys(account.allowed_addresses or ())
    if values:
        rows = [{"environment": account.environment, "account_id": account.id, "value": value} for value in values]
        connection.execute(insert(AccountAddress), rows)


def _changed(mapper: Mapper[Any], connection: Connection, account: Account) -> None:
    if instance_state(account).attrs["allowed_addresses"].history.has_changes():
        connection.execute(delete(AccountAddress).where(AccountAddress.account_id == account.id))
        _added(mapper, connection, account)
