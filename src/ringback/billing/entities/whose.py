"""What is told of the account behind a number. Imports nothing: masks and documents of sessions know it too."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Whose:
    """An account, how it was found and its customer. All of it unmasked."""

    name: str  # the number or login that was asked for; the charging id where the account itself was
    known_as: str  # what that is to the account: "account" | "alias" | "DID number" | "SIM card"
    account_id: int
    account: str  # its charging id
    customer_id: int
    customer: str
