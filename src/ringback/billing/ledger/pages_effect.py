"""What a command does to balances, invoices and statuses, as a page shows it before and after it is done."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson

from ringback.billing.entities.pages_values import amount, balance_words
from ringback.billing.entities.status import ACCOUNT_STATUSES, CUSTOMER_STATUSES
from ringback.billing.ledger.schemas import Effect
from ringback.billing.ledger.settlement import SETTLEMENTS


@dataclass(frozen=True, slots=True)
class EffectLine:
    """What becomes of one figure or word."""

    what: str
    was: str
    becomes: str
    href: str = ""


def digest(effect: Effect) -> str:
    """The same while the effect is the same: without what only a try has, such as the id of a new invoice."""
    told = [
        effect.currency, effect.status, *_pair(effect.balance), *_pair(effect.unallocated),
        [[each.id, *_pair(each.balance), each.status] for each in effect.accounts],
        [[each.id if each.settlement[0] else 0, str(each.total), *_pair(each.due), each.settlement]
         for each in effect.invoices],
    ]  # fmt: skip
    return hashlib.sha256(orjson.dumps(told)).hexdigest()


def _pair(change: Any) -> tuple[str, str]:
    return f"{change.before.normalize():f}", f"{change.after.normalize():f}"


def effect_lines(
    document: Mapping[str, Any], *, holds_funds: bool, leaves: str, done: bool = False
) -> list[EffectLine]:
    """Before and after of all that changes; `document`: as the API gives it."""
    currency = document["currency"]

    def words(text: str) -> str:
        return balance_words(Decimal(text), currency, holds_funds=holds_funds)[0]

    def money(text: str) -> str:
        return f"{amount(Decimal(text), currency)} {currency}"

    balance, free, status = (document[name] for name in ("balance", "unallocated", "status"))
    found = [EffectLine("Balance", words(balance["before"]), words(balance["after"]))]
    if free["before"] != free["after"] or any(Decimal(each) for each in free.values()):
        found.append(EffectLine("Unallocated payments", money(free["before"]), money(free["after"])))
    if status["before"] != status["after"]:
        before, after = (CUSTOMER_STATUSES[status[name]] for name in ("before", "after"))
        found.append(EffectLine("Status of the customer", before, after))
    for each in document["accounts"]:
        href, both = f"/accounts/{each['i_account']}/billing", each["balance"]
        if both["before"] != both["after"]:
            found.append(EffectLine(f"Account {each['id']}", words(both["before"]), words(both["after"]), href))
        if each["status"]["before"] != each["status"]["after"]:
            before, after = (ACCOUNT_STATUSES[each["status"][name]] for name in ("before", "after"))
            found.append(EffectLine(f"Status of account {each['id']}", before, after, href))
    for each in document["invoices"]:
        is_known = done or bool(each["settlement"]["before"])  # a new one has its id and number when it is done
        name = f"Invoice {each['number']}" if is_known and each["number"] else "The invoice"
        before, after = (
            f"{SETTLEMENTS[each['settlement'][at]]}, {money(each['due'][at])} due" if each["settlement"][at] else ""
            for at in ("before", "after")
        )
        href = f"/invoices/{each['i_invoice']}" if is_known else ""
        becomes = after or f"{leaves}, {money(each['total'])}"
        found.append(EffectLine(name, before or "not issued", becomes, href))
    return found
