"""Options of invoices."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from sqlalchemy.orm import Session

from ringback.configuration import queries
from ringback.configuration.kinds import text
from ringback.configuration.options import Harmless, Looking, Scope, option, touches
from ringback.configuration.snapshot import Snapshot
from ringback.records.tables import INSTALLATION
from ringback.records.wall import everywhere

COLLECTION_THRESHOLD = option(
    "Invoices.Collection_Threshold",
    text(16, r"[0-9]{1,9}(\.[0-9]{1,5})?", "an amount such as 0.50"),
    default="0",
    scope=Scope.ENVIRONMENT,
    help="Invoices of which no more than this is due are not collected: they are not overdue, and their status is"
    " Do not collect. In the currency of each invoice.",
)


@touches(COLLECTION_THRESHOLD)
def _invoices(_looking: Looking, old: str, new: str) -> Iterator[str]:
    if Decimal(new) < Decimal(old):
        yield f"Invoices of which more than {new} is due become overdue where they are past their date."
    else:
        yield Harmless(f"Invoices of which no more than {new} is due are no longer collected, nor overdue.")


def threshold(session: Session, environment: str) -> Decimal:
    """As it is applied now."""
    with everywhere(session):
        rows = queries.values(session, (environment, INSTALLATION))
    applied = Snapshot(0, [(row.environment, row.name, row.value) for row in rows])
    found: str | None = applied.get(COLLECTION_THRESHOLD, environment)
    return Decimal(found or COLLECTION_THRESHOLD.default)
