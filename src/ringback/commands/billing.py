"""`ringback billing`."""

from __future__ import annotations

from typing import Annotated

import typer

from ringback.commands.shell import AsJson, Data, fail, group, records_of, say

billing = group("What customers owe.")

_Environments = Annotated[list[str] | None, typer.Option("--environment", metavar="KEY", help="Else all.")]


@billing.command("notice")
def billing_notice(data: Data = None, environment: _Environments = None) -> None:
    """Tell the audit log which invoices are past their date. The work role does so each hour."""
    from ringback.access.commands import shell_actor
    from ringback.billing.ledger.commands import environments, notice

    engine = records_of(data)
    if unknown := set(environment or ()) - set(environments(engine)):
        fail(f"there is no environment {', '.join(sorted(unknown))}", code=2)
    for name, count in notice(engine, shell_actor(), environment or ()).items():
        say(f"{name:20} {count:,} {'invoice' if count == 1 else 'invoices'}")


@billing.command("check")
def billing_check(data: Data = None, environment: _Environments = None, as_json: AsJson = False) -> None:
    """Whether every balance, payment and invoice is the sum of its rows. Exit code 1: one is not."""
    from ringback.billing.ledger.commands import check, environments

    engine = records_of(data)
    if unknown := set(environment or ()) - set(environments(engine)):
        fail(f"there is no environment {', '.join(sorted(unknown))}", code=2)
    raise typer.Exit(check(engine, environment or (), as_json=as_json, say=say))
