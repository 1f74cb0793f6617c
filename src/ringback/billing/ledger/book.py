"""The ledger of one customer, opened by a command: locked until the work ends, it knows what was before and tells, as
effects of the command, what became of the balance, of unallocated payments, of invoices and of statuses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import ROUND_FLOOR, Decimal
from functools import cached_property
from types import MappingProxyType
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm.attributes import set_committed_value

from ringback import clock
from ringback.billing.entities.models import Account, Customer
from ringback.billing.entities.pages_values import exponent
from ringback.billing.entities.status import account_status, customer_status
from ringback.billing.ledger import queries
from ringback.billing.ledger.errors import LedgerError, LedgerNotFound, NotNow
from ringback.billing.ledger.models import Allocation, Invoice, Payment, Xdr
from ringback.billing.ledger.options import threshold
from ringback.billing.ledger.rounding import kept, rounded, spelled
from ringback.billing.ledger.schemas import AccountEffect, Change, Effect, InvoiceEffect
from ringback.billing.ledger.settlement import due_of, settlement
from ringback.changes.history import last_record
from ringback.changes.schemas import Fact, Json, Money, Owner
from ringback.changes.service import note
from ringback.records.engine import UnitOfWork
from ringback.records.money import MOST

MOST_TOLD = 50  # accounts whose status follows from their customer's balance, each with a record of its own
MOST_AMOUNT = Decimal(10**10)  # below it every sum can be kept


class Book:
    def __init__(self, work: UnitOfWork, environment: str, customer_id: int, *, usage: bool = False) -> None:
        """Waits for whoever moves money of this customer. `usage`: payments are not looked at. Raises LedgerNotFound."""
        work.lock("ledger", environment, str(customer_id))
        asked = select(Customer).where(Customer.id == customer_id, Customer.environment == environment)
        fresh = asked.with_for_update().execution_options(populate_existing=True)
        customer = work.scalars(fresh).one_or_none() if 0 < customer_id < 1 << 53 else None
        if customer is None:
            raise LedgerNotFound(f"There is no customer {customer_id}.")
        self.work, self.environment, self.customer = work, environment, customer
        self.currency: str = customer.currency
        self.today: date = queries.today(work, environment)
        self.xdrs: list[Xdr] = []
        self.unallocated = Decimal(0) if usage else queries.unallocated(work, customer.id)
        self._before: Decimal = customer.balance
        self._unallocated_before = self.unallocated
        self._accounts: dict[int, tuple[Account, Decimal]] = {}
        self._invoices: dict[int, tuple[Invoice, Decimal, str]] = {}

    # What is there

    @cached_property
    def threshold(self) -> Decimal:
        return threshold(self.work, self.environment)

    def account(self, account_id: int | None, field: str = "account") -> Account | None:
        """Of this customer; what an alias stands for. Raises LedgerError."""
        if account_id is None:
            return None
        asked = select(Account).where(Account.id == account_id, Account.customer_id == self.customer.id)
        found = self.work.scalars(asked.execution_options(populate_existing=True)).one_or_none()
        if found is not None and found.billing_model == "alias":
            return self.account(found.alias_of_id, field)
        if found is None:
            raise LedgerError(field, f"The customer has no account {account_id}.")
        self._accounts.setdefault(found.id, (found, found.balance))
        return found

    def invoice(self, invoice_id: int, field: str = "invoice") -> Invoice:
        """Of this customer, as it is now; what its date did to it since is told first. Raises LedgerError."""
        if invoice_id in self._invoices:
            return self._invoices[invoice_id][0]
        asked = select(Invoice).where(Invoice.id == invoice_id, Invoice.customer_id == self.customer.id)
        found = self.work.scalars(asked.execution_options(populate_existing=True)).one_or_none()
        if found is None:
            raise LedgerError(field, f"The customer has no invoice {invoice_id}.")
        self.touch([found])
        return found

    def touch(self, invoices: Iterable[Invoice]) -> None:
        """They may be changed from here on."""
        for each in invoices:
            if each.id not in self._invoices:
                now = settlement(each, self.today, self.threshold)
                self._invoices[each.id] = each, due_of(each), now
                self.notice(each)

    def asked(self, amount: Decimal, field: str = "amount", *, positive: bool = True) -> Decimal:
        """An amount that people ask for or pay has its currency's places. Raises LedgerError."""
        if positive and amount <= 0:
            raise LedgerError(field, "The amount is more than zero.")
        if not amount:
            raise LedgerError(field, "An amount of zero changes nothing.")
        if amount != rounded(amount, self.currency):
            raise LedgerError(field, f"{amount.normalize():f} has more decimals than {self.currency} has.")
        if abs(amount) >= MOST_AMOUNT:
            raise LedgerError(field, f"{amount:f} is too large: {MOST_AMOUNT:,} and more cannot be kept.")
        return amount

    def floored(self, amount: Decimal) -> Decimal:
        """As much of it as can be paid in this currency."""
        return amount.quantize(Decimal(1).scaleb(-exponent(self.currency)), ROUND_FLOOR)

    def spelled(self, amount: Decimal) -> str:
        return spelled(amount, self.currency)

    def last_record(self, invoice: Invoice) -> int | None:
        """Of the audit log, about this invoice."""
        return last_record(self.work, self.environment, "invoice", str(invoice.id))

    def may_charge(self) -> None:
        """Raises NotNow."""
        if self.customer.bill_status == "closed":
            raise NotNow("The customer is closed: nothing is charged any more.")

    # What is done

    def post(
        self, kind: str, amount: Decimal, description: str, *, account: Account | None = None,
        occurred_at: datetime | None = None, **more: Any,
    ) -> Xdr:  # fmt: skip
        """The only place where an xDR is made, and a balance moved. `more`: further columns of the xDR."""
        now, amount = clock.now(), kept(amount)
        balance = self.customer.balance + amount
        if abs(balance) >= MOST:
            raise LedgerError("amount", "The balance would be too large to be kept.")
        xdr = Xdr(
            environment=self.environment, customer_id=self.customer.id, kind=kind, amount=amount, balance_after=balance,
            description=description[:255], occurred_at=occurred_at or now, recorded_at=now,
            account_id=account.id if account else None,
            account_balance_after=account.balance + amount if account else None, **more,
        )  # fmt: skip
        self.work.add(xdr)
        self.work.flush()
        self._move(self.customer, balance)
        if account is not None:
            self._accounts.setdefault(account.id, (account, account.balance))
            self._move(account, account.balance + amount)
        self.xdrs.append(xdr)
        return xdr

    def _move(self, row: Customer | Account, balance: Decimal) -> None:
        """That column alone: the xDR is the record of it, and whoever edits the row meanwhile need not do so again."""
        model = type(row)
        same = update(model).where(model.id == row.id).values(balance=balance)
        self.work.execute(same.execution_options(synchronize_session=False))
        set_committed_value(row, "balance", balance)

    def receive(
        self, amount: Decimal, method: str, description: str, account: Account | None, kind: str, *, funds: bool,
        invoice_id: int | None = None, at: datetime | None = None,
    ) -> Payment:  # fmt: skip
        """A payment of which nothing is allocated yet, and its xDR."""
        xdr = self.post(kind, -amount, description, account=account, occurred_at=at, invoice_id=invoice_id)
        payment = Payment(
            environment=self.environment, customer_id=self.customer.id,
            account_id=account.id if account is not None and funds else None, method=method, amount=amount,
            unallocated=amount, refunded=Decimal(0), xdr_id=xdr.id, received_at=xdr.occurred_at,
            recorded_at=xdr.recorded_at,
        )  # fmt: skip
        self.work.add(payment)
        self.work.flush()
        xdr.payment_id = payment.id
        if not funds:
            self.unallocated += amount
        return payment

    def settle(self, payments: Iterable[Payment], invoices: Sequence[Invoice]) -> None:
        """Each payment as far as it goes, in this order."""
        for payment in payments:
            for invoice in invoices:
                if not payment.unallocated:
                    break
                self.allocate(payment, invoice)

    def allocate(self, payment: Payment, invoice: Invoice, most: Decimal | None = None) -> Fact | None:
        """As much as both have left, and no more than `most`; None: that is nothing."""
        amount = min(payment.unallocated, due_of(invoice), *([] if most is None else [most]))
        if amount <= 0:
            return None
        self.touch([invoice])
        self.work.add(
            Allocation(
                environment=self.environment, payment_id=payment.id, invoice_id=invoice.id, amount=amount,
                made_at=clock.now(),
            )
        )  # fmt: skip
        payment.unallocated -= amount
        invoice.allocated += amount
        self.unallocated -= amount
        return self.tell(
            "payment.allocated", "payment", payment.id, str(payment.id), amount=str(amount), invoice=_named(invoice)
        )

    def take_back(self, payment: Payment, allocation: Allocation, amount: Decimal) -> None:
        """The allocation, or a part of it, becomes unallocated."""
        invoice = self.invoice(allocation.invoice_id)
        allocation.reversed_at = clock.now()
        if amount < allocation.amount:
            self.work.add(
                Allocation(
                    environment=self.environment, payment_id=payment.id, invoice_id=invoice.id,
                    amount=allocation.amount - amount, made_at=allocation.reversed_at,
                )
            )  # fmt: skip
        payment.unallocated += amount
        invoice.allocated -= amount
        self.unallocated += amount
        self.tell(
            "payment.taken_back", "payment", payment.id, str(payment.id), amount=str(amount), invoice=_named(invoice)
        )

    # What is told

    def tell(
        self, action: str, entity_type: str, entity_id: int, name: str, *, account: Account | None = None,
        cause: Fact | int | None = None, more: Mapping[str, Json] = MappingProxyType({}), **arguments: Json,
    ) -> Fact:  # fmt: skip
        owner = Owner(self.environment, self.customer.id, account.id if account else None)
        return note(
            self.work, action, entity_type, entity_id, name, owner, arguments={**arguments, **more}, cause=cause
        )

    def notice(self, invoice: Invoice, cause: Fact | None = None, **arguments: Json) -> bool:
        """The audit log tells each settlement once: whether it was told now. Without a cause the last record of the
        invoice is it: what was paid, and was not enough."""
        now, told = settlement(invoice, self.today, self.threshold), invoice.noticed
        if now == told:
            return False
        invoice.noticed = now
        if not now or (not told and now == "unpaid"):
            return False  # which being issued, or void, says
        due, total = due_of(invoice), invoice.total + invoice.adjusted
        fact = self.tell(
            "settlement.changed", "invoice", invoice.id, _named(invoice),
            cause=cause or self.last_record(invoice),
            due=str(due), total=str(total), due_on=str(invoice.due_on), more=arguments,
        )  # fmt: skip
        fact.changes["settlement"] = (told or "unpaid", now)
        return True

    def close(self, told: Fact | None, source: str = "", **ids: int | None) -> Effect:
        """Tells the effects of what `told` says, with its xDR as their source. Without it, of a charge for usage, the
        change of a status is a record, and its xDR is said in it."""
        customer, before, after = self.customer, self._before, self.customer.balance
        why: dict[str, Json] = {"source": source, "xdr": self.xdrs[0].id} if self.xdrs else {"source": source}
        if told is not None:
            told.money = Money(after - before, before, after, self.currency)
            if before != after:
                self._told_change(told, "customer", customer.id, customer.name, "balance", before, after, why)
            if self._unallocated_before != self.unallocated:
                self._told_change(
                    told, "customer", customer.id, customer.name, "unallocated", self._unallocated_before,
                    self.unallocated, why,
                )  # fmt: skip
            for account, balance in self._accounts.values():
                if balance != account.balance:
                    self._told_change(
                        told,
                        "account",
                        account.id,
                        account.charging_id,
                        "balance",
                        balance,
                        account.balance,
                        why,
                        account,
                    )
            for invoice, _, _ in self._invoices.values():
                self.notice(invoice, told, **why)
        statuses = (
            customer_status(customer, self.today, before).code,
            customer_status(customer, self.today, after).code,
        )
        if statuses[0] != statuses[1]:
            self._told_status(told, customer, statuses, why)
        accounts = self._account_effects(told, why)
        self.work.flush()
        return Effect(
            customer.id, self.currency, Change(before, after), Change(self._unallocated_before, self.unallocated), statuses,
            accounts,
            tuple(
                InvoiceEffect(
                    each.id, each.number, each.total + each.adjusted, Change(due, due_of(each)),
                    (was, settlement(each, self.today, self.threshold)),
                )
                for each, due, was in sorted(self._invoices.values(), key=lambda one: one[0].id)
            ),
            tuple(each.id for each in self.xdrs),
            **ids,
        )  # fmt: skip

    def _told_change(
        self, told: Fact, kind: str, id_: int, name: str, what: str, old: Decimal, new: Decimal, why: dict[str, Json],
        account: Account | None = None,
    ) -> None:  # fmt: skip
        fact = self.tell(f"{what}.changed", kind, id_, name, account=account, cause=told, more=why)
        fact.changes[what] = (str(old), str(new))

    def _told_status(
        self, told: Fact | None, row: Customer | Account, codes: tuple[str, str], why: dict[str, Json]
    ) -> None:
        fact = self.tell(
            "status.changed", row.about.name, row.id, row.told_as(), account=row if isinstance(row, Account) else None,
            cause=told, more=why,
        )  # fmt: skip
        fact.changes["status_shown"] = codes

    def _account_effects(self, told: Fact | None, why: dict[str, Json]) -> tuple[AccountEffect, ...]:
        """Of accounts whose balance changed; and whose status did, as the customer's balance reached a limit that is
        theirs too."""
        customer, before, after = self.customer, self._before, self.customer.balance
        concerned = dict(self._accounts)
        limit = customer.credit_limit
        if limit is not None and (before >= limit) != (after >= limit) and customer.balance_control != "prepaid":
            its = select(Account).where(Account.customer_id == customer.id, Account.credit_limit.is_(None))
            for each in self.work.scalars(its.order_by(Account.id).limit(MOST_TOLD)):
                concerned.setdefault(each.id, (each, each.balance))
        found = []
        for account, balance in concerned.values():
            codes = (
                account_status(account, customer, self.today, balance, before).code,
                account_status(account, customer, self.today, account.balance, after).code,
            )
            if codes[0] != codes[1]:
                self._told_status(told, account, codes, why)
            if codes[0] != codes[1] or balance != account.balance:
                change = Change(balance, account.balance)
                found.append(AccountEffect(account.id, account.charging_id, change, codes))
        return tuple(found)


def _named(invoice: Invoice) -> str:
    return str(invoice.number) if invoice.number is not None else f"draft {invoice.id}"
