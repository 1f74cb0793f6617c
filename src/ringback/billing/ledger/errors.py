"""What can stand in the way of a command. Every text is fit to be shown."""

from __future__ import annotations


class LedgerError(ValueError):
    """Something that was given is wrong: the field, and a sentence."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


class LedgerNotFound(LookupError):
    """Of another environment, or never there: not told apart."""


class NotNow(Exception):
    """What is there does not allow it: an invoice that is void, a payment that was refunded."""


class KeyReused(Exception):
    """An Idempotency-Key came with another command than before."""
