"""Why a call is refused, and how each kind of node is told: SIP, RADIUS (h323-return-code) and announcements.

The ids are those of the issues that a trace shows.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    id: str
    sip_code: int
    sip_reason: str  # the phrase
    h323_return_code: int
    error_name: str  # as announcements are called by


_ALL = (
    Reason("destination-forbidden", 403, "Destination forbidden", 9, "cld_blocked"),
    Reason("destination-not-in-tariff", 403, "Destination not in tariff", 9, "cld_blocked"),
    Reason("insufficient-balance", 403, "Insufficient balance", 11, "insufficient_balance"),
    Reason("credit-limit-reached", 403, "Credit limit reached", 6, "credit_disconnect"),
    Reason("account-blocked", 403, "Account blocked", 7, "user_denied"),
    Reason("account-suspended", 403, "Account suspended", 12, "user_denied"),
    Reason("account-closed", 403, "Account closed", 12, "invalid_account"),
    Reason("account-expired", 403, "Account expired", 5, "account_expired"),
    Reason("account-not-active-yet", 403, "Account not active yet", 12, "user_denied"),
    Reason("customer-blocked", 403, "Customer blocked", 7, "user_denied"),
    Reason("customer-suspended", 403, "Customer suspended", 12, "user_denied"),
    Reason("customer-limited", 403, "Services limited", 12, "user_denied"),
    Reason("account-unknown", 403, "Account unknown", 1, "invalid_account"),
    Reason("wrong-password", 403, "Wrong password", 2, "wrong_passwd"),
    Reason("service-not-in-product", 403, "Service not in product", 12, "user_denied"),
    Reason("node-not-in-product", 403, "Node not in product", 12, "user_denied"),
    Reason("node-unknown", 403, "Node unknown", 8, "user_denied"),
    Reason("too-many-simultaneous-calls", 403, "Too many calls", 3, "in_use"),
    Reason("system-error", 503, "Billing error", 8, "cld_tmp_unavail"),
)
REASONS = {each.id: each for each in _ALL}
ZERO_BALANCE = 4  # h323-return-code of insufficient-balance where nothing is left at all

OF_STATUS = {
    "closed": "account-closed",
    "blocked": "account-blocked",
    "customer_blocked": "customer-blocked",
    "suspended": "account-suspended",
    "customer_suspended": "customer-suspended",
    "inactive": "account-suspended",
    "not_yet_active": "account-not-active-yet",
    "expired": "account-expired",
    "frozen": "account-suspended",
    "quarantine": "account-blocked",
    "screening": "account-blocked",
}  # of an account's shown status; those about money and "limited" are looked at once the price is known


class Refused(Exception):
    """The call is refused. `link`: type and id of the entity to look at or to mend."""

    def __init__(
        self, reason: str, text: str, link: tuple[str, int] | None = None, *, h323_return_code: int | None = None
    ) -> None:
        super().__init__(text)
        self.reason = REASONS[reason]
        self.text = text
        self.link = link
        self.h323_return_code = self.reason.h323_return_code if h323_return_code is None else h323_return_code
