"""Links to systems beside ours, by the URL templates of an environment: {id}, {name} and {environment} are filled in."""

from __future__ import annotations

import re
from urllib.parse import quote

from sqlalchemy import select
from sqlalchemy.orm import Session

from ringback.billing.entities.models import Environment

CUSTOMER, ACCOUNT, TICKET = "customer_link", "account_link", "ticket_link"


def templates(session: Session, environment: str) -> dict[str, str]:
    """By their fields; "" where there is none."""
    row = session.scalars(select(Environment).where(Environment.environment == environment)).one_or_none()
    return {name: getattr(row, name) if row is not None else "" for name in (CUSTOMER, ACCOUNT, TICKET)}


def filled(template: str, id_: object, name: str | None, environment: str) -> str:
    """`name`: None where the reader may not see it, and a link that needs it is none ("")."""
    if name is None and "{name}" in template:
        return ""
    values = {"id": str(id_), "name": name or "", "environment": environment}
    return re.sub(r"\{(\w+)\}", lambda found: quote(values.get(found[1], ""), safe=""), template)
