"""What is done with money on pages, in three steps: a form, the effect before it is confirmed, and what was done.

The form carries a key of its own: sent twice it is done once. Between the second step and the third somebody else may have
moved something: then the effect is shown again, and nothing was done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Annotated, Any
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter, Path, Request
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from ringback import clock
from ringback.access.dependencies import CurrentActor, Records, may
from ringback.access.masking import mask
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.billing.entities.fields import Field, Kind
from ringback.billing.entities.known import Known
from ringback.billing.entities.models import SERVICES, TYPES, Customer
from ringback.billing.entities.pages_base import PATHS, Posted, Writing, text_field, zone_of
from ringback.billing.entities.pages_form import Input, make_input, typed
from ringback.billing.entities.pages_object import Link
from ringback.billing.entities.pages_values import amount, balance_words, day_text
from ringback.billing.entities.status import ACCOUNT_STATUSES, CUSTOMER_STATUSES
from ringback.billing.entities.values import read
from ringback.billing.ledger import documents, pages_queries, queries, service
from ringback.billing.ledger.errors import KeyReused, LedgerError, NotNow
from ringback.billing.ledger.idempotency import fingerprint, once
from ringback.billing.ledger.models import Command
from ringback.billing.ledger.rounding import spelled
from ringback.billing.ledger.schemas import Effect, Line
from ringback.billing.ledger.service import RECEIVED
from ringback.billing.ledger.settlement import SETTLEMENTS, due_of
from ringback.changes.history import last_record
from ringback.changes.schemas import Actor
from ringback.changes.service import do_changing
from ringback.changes.tracked import facts_of
from ringback.problem import Problem
from ringback.records.engine import UnitOfWork, reading
from ringback.web.templating import render

Writer = Annotated[Principal, may(Permission.CUSTOMERS_READ, Permission.MONEY_WRITE)]
RowId = Annotated[int, Path(ge=1, le=2**53 - 1)]
Values = Mapping[str, Any]

NEW_LINES = 4  # of an invoice that is made by hand
MOST_DUE = 100  # invoices to choose from
_FEW_LINKS = 4  # to xDRs of what was done
_METHODS = tuple((each, each.replace("_", " ").capitalize()) for each in RECEIVED)
_AMOUNT = Field("amount", "Amount", Kind.MONEY, required=True)
_DESCRIPTION = Field("description", "What for", Kind.TEXT, required=True, length=200, help="Stands on the invoice.")
_ACCOUNT = Field("account", "Account", Kind.LINK, links_to="account", help="Empty: the customer's, of no account.")
_REASON = Field("reason", "Why", Kind.TEXT, length=200, help="Stands in the audit log.")


@dataclass(slots=True)
class Act:
    """One thing that can be done: its form, and the command behind it."""

    heading: str
    button: str  # of the last step
    back: str
    customer_id: int
    currency: str
    fields: Sequence[Field]
    do: Callable[[UnitOfWork, str, Values], Effect]
    texts: dict[str, str] = field(default_factory=dict)  # how the form begins
    told: list[str] = field(default_factory=list)
    destroys: bool = False
    is_prepaid: bool = False
    leaves: str = "a draft"  # what an invoice is that nothing is asked for by, then


@dataclass(frozen=True, slots=True)
class EffectLine:
    """What becomes of one figure or word."""

    what: str
    was: str
    becomes: str
    href: str = ""


@dataclass(slots=True)
class ActPage:
    act: Act
    action: str
    key: str
    step: str = "form"  # form, effect, refused
    inputs: list[Input] = field(default_factory=list)
    hidden: list[tuple[str, str]] = field(default_factory=list)
    said: list[tuple[str, str]] = field(default_factory=list)  # what was typed, to be read again
    errors: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    lines: list[EffectLine] = field(default_factory=list)
    seen: str = ""  # digest of the effect that is shown
    refusal: str = ""
    anew: bool = False  # a form of its own may do it


class _Changed(Exception):
    """The effect is no longer what was shown."""

    def __init__(self, effect: Effect) -> None:
        super().__init__()
        self.effect = effect


_Make = Callable[[Session, Principal, str, int], Act]


def register(router: APIRouter) -> None:
    for path, make in (
        ("/customers/{row_id:int}/pay", _payment),
        ("/customers/{row_id:int}/adjust", _adjustment),
        ("/customers/{row_id:int}/charge", _charge),
        ("/customers/{row_id:int}/invoices/new", _invoice),
        ("/payments/{row_id:int}/refund", _refund),
        ("/invoices/{row_id:int}/adjust", _invoice_adjustment),
        ("/invoices/{row_id:int}/issue", _issue),
        ("/invoices/{row_id:int}/void", _void),
    ):
        shown, sent = _endpoints(make)
        router.add_api_route(path, shown, methods=["GET"])
        router.add_api_route(path, sent, methods=["POST"])
    router.add_api_route("/customers/{row_id:int}/billing/done", done_page, methods=["GET"])


def _endpoints(make: _Make) -> tuple[Callable[..., Response], Callable[..., Response]]:
    def form_page(request: Request, row_id: RowId, writer: Writer, records: Records) -> Response:
        environment = writer.environments[0]
        with reading(records, (environment,)) as session:
            act = make(session, writer, environment, row_id)
            names = {each.name for each in act.fields}
            given = {name: text[:255] for name, text in request.query_params.items() if name in names}
            page = _page(request, act)
            _with_inputs(request, session, writer, page, act.texts | given)
        return _answer(request, page)

    def act_page(
        request: Request, row_id: RowId, writer: Writer, records: Records, actor: CurrentActor, posted: Posted
    ) -> Response:
        environment = writer.environments[0]
        key = text_field(posted, "key", 64) or clock.random_token(16)
        with reading(records, (environment,)) as session:
            done = session.scalars(select(Command).where(Command.key == _key(key))).one_or_none()
            act = make(session, writer, environment, row_id)
            page = _page(request, act, key)
            texts = {each.name: text_field(posted, each.name) for each in act.fields}
            asked = fingerprint(f"{actor.kind} {actor.id}", "POST", request.url.path, texts)
            if done is not None:
                if done.fingerprint == asked and text_field(posted, "step") == "do":
                    return _done(act, key, None)
                return _used(request, page)
            _with_inputs(request, session, writer, page, texts)
            values = _read(session, request, environment, page, texts)
        if page.errors or text_field(posted, "step") == "edit":
            return _answer(request, page, 422 if page.errors else 200)

        def do(work: UnitOfWork) -> Effect:
            return act.do(work, environment, values)

        try:
            if text_field(posted, "step") == "do":
                seen = text_field(posted, "seen", 64)
                record = _commit(records, actor, environment, writer, act, do, key, asked, seen)
                return _done(act, key, record)
            effect = service.preview(records, actor, environment, do)
        except _Changed as changed:
            page.problems.append(
                "Something moved since this was shown, so nothing was done. This is what it would do now."
            )
            return _effect(request, writer, page, texts, changed.effect, 409)
        except LedgerError as wrong:
            page.errors[wrong.field] = str(wrong)
            _tell_errors(page)
            return _answer(request, page, 422)
        except NotNow as refused:
            return _refused(request, page, str(refused))
        except KeyReused:
            return _used(request, page)
        return _effect(request, writer, page, texts, effect)

    return form_page, act_page


def done_page(
    request: Request, row_id: RowId, writer: Writer, records: Records, key: str, record: int | None = None
) -> Response:
    environment = writer.environments[0]
    with reading(records, (environment,)) as session:
        command = session.scalars(select(Command).where(Command.key == _key(key[:64]))).one_or_none()
        effect = (command.answer if command else {}).get("effect", {})
        if command is None or effect.get("i_customer") != row_id:
            raise Problem(404, "Nothing was done under this address, or it is long ago.", title="Nothing here")
        customer = queries.customer(session, row_id)
        if record is None:
            told = command.answer["told"]
            record = last_record(session, environment, told[0], told[1])
        title = Writing(session, writer).title(TYPES["customer"], customer)
    if not writer.sees_personal:  # whoever did it may have seen more
        effect["accounts"] = [each | {"id": mask(each["id"], "number")} for each in effect["accounts"]]
    links = []
    if effect["i_payment"]:
        links.append(Link(f"Payment {effect['i_payment']}", f"/payments/{effect['i_payment']}"))
    if effect["i_invoice"]:
        links.append(Link("The invoice", f"/invoices/{effect['i_invoice']}"))
    links += [Link(f"xDR {each}", f"/xdrs/{each}") for each in effect["i_xdrs"][:_FEW_LINKS]]
    return render(
        request, "billing/money_done.html", heading=command.answer["heading"], title=title, row_id=row_id,
        lines=effect_lines(effect, holds_funds=_is_prepaid(customer), leaves=command.answer["leaves"], done=True),
        links=links, record=record,
        us=clock.to_us(command.done_at),
    )  # fmt: skip


# What can be done


def _payment(session: Session, writer: Principal, environment: str, row_id: int) -> Act:
    customer = queries.customer(session, row_id)
    due = queries.due(session, row_id)[:MOST_DUE]
    choices = tuple((str(each.id), _due_words(each)) for each in due)
    funds = pages_queries.has_funds(session, row_id)
    fields = [
        _AMOUNT, Field("method", "Method", Kind.CHOICE, choices=_METHODS, required=True),
        Field("reference", "Reference", Kind.TEXT, length=120, help="Of the bank or the payment provider."),
    ]  # fmt: skip
    if due:
        said = "Empty: those that are due first. What is more than that is due stays unallocated."
        fields.append(Field("invoices", "For invoice", Kind.CHOICE, choices=choices, help=said))
    if funds:
        said = "One that pays in advance: the payment is a top-up of its funds."
        fields.append(replace(_ACCOUNT, help=said))
    fields += [
        Field("received_at", "Received", Kind.TIME, help="Empty: now."),
        Field("comment", "Comment", Kind.TEXT, length=200),
    ]

    def do(work: UnitOfWork, environment: str, values: Values) -> Effect:
        invoice = values.get("invoices")
        return service.pay(
            work, environment, row_id, values["amount"], method=values["method"], reference=values["reference"],
            account_id=values.get("account"), invoices=(int(invoice),) if invoice else (),
            received_at=values["received_at"], comment=values["comment"],
        )  # fmt: skip

    title = _title(session, writer, customer)
    act = _act(customer, f"Payment of {title}", "Take the payment", fields, do)
    total = sum((due_of(each) for each in due), Decimal(0))
    act.told.append(_balance(customer) + (f", {_money(total, customer)} is due on invoices." if due else "."))
    act.texts = {"method": "bank_transfer"}
    if total:
        act.texts["amount"] = spelled(total, customer.currency)
    return act


def _adjustment(session: Session, writer: Principal, environment: str, row_id: int) -> Act:
    customer = queries.customer(session, row_id)
    due = queries.due(session, row_id)[:MOST_DUE]
    fields = [_direction(), _AMOUNT, _DESCRIPTION]
    if due:
        choices = tuple((str(each.id), _due_words(each)) for each in due)
        said = "Empty: the balance. To ask for more, choose an invoice, or make a charge."
        fields.append(Field("invoice", "Of invoice", Kind.CHOICE, choices=choices, help=said))
    fields.append(_ACCOUNT)

    def do(work: UnitOfWork, environment: str, values: Values) -> Effect:
        invoice = values.get("invoice")
        return service.adjust(
            work, environment, row_id, _signed(values), values["description"],
            invoice_id=int(invoice) if invoice else None, account_id=values["account"],
        )  # fmt: skip

    act = _act(customer, f"Adjustment of {_title(session, writer, customer)}", "Adjust", fields, do)
    act.told.append(_balance(customer) + ".")
    act.texts = {"direction": "credit"}
    return act


def _invoice_adjustment(session: Session, writer: Principal, environment: str, row_id: int) -> Act:
    invoice = queries.invoice(session, row_id)
    customer = queries.customer(session, invoice.customer_id)
    customer_id = customer.id

    def do(work: UnitOfWork, environment: str, values: Values) -> Effect:
        return service.adjust(
            work, environment, customer_id, _signed(values), values["description"], invoice_id=row_id
        )

    act = _act(customer, f"Adjustment of invoice {invoice.number or row_id}", "Adjust the invoice",
               [_direction(), _AMOUNT, _DESCRIPTION], do)  # fmt: skip
    act.back = f"/invoices/{row_id}"
    act.told.append(f"{_money(due_of(invoice), customer)} of {_money(invoice.total, customer)} is due.")
    act.texts = {"direction": "credit"}
    return act


def _charge(session: Session, writer: Principal, environment: str, row_id: int) -> Act:
    customer = queries.customer(session, row_id)
    fields = [_AMOUNT, _DESCRIPTION, _ACCOUNT, Field("service", "Service", Kind.CHOICE, choices=SERVICES)]

    def do(work: UnitOfWork, environment: str, values: Values) -> Effect:
        return service.charge(
            work, environment, row_id, values["amount"], values["description"], account_id=values["account"],
            service=values["service"] or "",
        )  # fmt: skip

    act = _act(customer, f"Charge of {_title(session, writer, customer)}", "Charge", fields, do)
    act.told.append(f"{_balance(customer)}. The next invoice asks for it, unless the account pays in advance.")
    return act


def _invoice(session: Session, writer: Principal, environment: str, row_id: int) -> Act:
    customer = queries.customer(session, row_id)
    waiting = queries.summary(session, customer, queries.today(session, environment), Decimal(0)).unbilled
    fields = [
        Field("collect", "Collect", Kind.FLAG, help="All that was charged and stands on no invoice."),
        Field("issue", "Issue", Kind.FLAG, help="At once. Otherwise it is a draft, which asks for nothing yet."),
        Field("period_from", "Period from", Kind.DATE),
        Field("period_to", "Period to", Kind.DATE, help="Its last day: what was charged later is left."),
    ]
    for place in range(1, NEW_LINES + 1):
        fields.append(Field(f"line_{place}", f"Line {place}", Kind.TEXT, length=200))
        fields.append(Field(f"amount_{place}", f"Amount of line {place}", Kind.MONEY))
    due = f"Empty: {customer.due_days} days after it is issued."
    fields.append(Field("due_on", "Due on", Kind.DATE, help=due))

    def do(work: UnitOfWork, environment: str, values: Values) -> Effect:
        return service.draft(
            work, environment, row_id, lines=_lines(values), collect=bool(values["collect"]),
            period_from=values["period_from"], period_to=values["period_to"], due_on=values["due_on"],
            issued=bool(values["issue"]),
        )  # fmt: skip

    act = _act(customer, f"New invoice of {_title(session, writer, customer)}", "Make the invoice", fields, do)
    act.told.append(f"{_money(waiting, customer)} was charged and stands on no issued invoice yet.")
    act.texts = {"collect": "yes" if waiting else "no", "issue": "yes"}
    return act


def _refund(session: Session, writer: Principal, environment: str, row_id: int) -> Act:
    payment = queries.payment(session, row_id)
    customer = queries.customer(session, payment.customer_id)

    def do(work: UnitOfWork, environment: str, values: Values) -> Effect:
        return service.refund(work, environment, row_id, values["amount"], reason=values["reason"])

    act = _act(customer, f"Refund of payment {row_id}", "Refund", [_AMOUNT, _REASON], do)
    act.back, act.destroys = f"/payments/{row_id}", True
    left = payment.amount - payment.refunded
    act.told.append(
        f"{_money(left, customer)} of {_money(payment.amount, customer)} is not refunded. What is unallocated goes back"
        " first, then what settled invoices last: they are due again."
    )
    act.texts = {"amount": spelled(left, customer.currency)} if left else {}
    return act


def _issue(session: Session, writer: Principal, environment: str, row_id: int) -> Act:
    invoice = queries.invoice(session, row_id)
    customer = queries.customer(session, invoice.customer_id)
    said = f"Empty: {customer.due_days} days from today."
    if invoice.due_on is not None:
        said = f"Empty: {day_text(invoice.due_on)}."

    def do(work: UnitOfWork, environment: str, values: Values) -> Effect:
        return service.issue(work, environment, row_id, due_on=values["due_on"])

    fields = [Field("due_on", "Due on", Kind.DATE, help=said)]
    act = _act(customer, f"Issue of draft {row_id}", "Issue the invoice", fields, do)
    act.back = f"/invoices/{row_id}"
    act.told.append("It gets its number and is never changed again. What was paid ahead settles it.")
    return act


def _void(session: Session, writer: Principal, environment: str, row_id: int) -> Act:
    invoice = queries.invoice(session, row_id)
    customer = queries.customer(session, invoice.customer_id)

    def do(work: UnitOfWork, environment: str, values: Values) -> Effect:
        return service.void(work, environment, row_id, values["reason"])

    act = _act(customer, f"Void of invoice {invoice.number or f'draft {row_id}'}", "Make it void", [_REASON], do)
    act.back, act.destroys, act.leaves = f"/invoices/{row_id}", True, "void"
    act.told.append(
        "As if it had never been: lines of its own are corrected, what it collected waits for the next one."
    )
    return act


def _act(
    customer: Customer, heading: str, button: str, fields: Sequence[Field],
    do: Callable[[UnitOfWork, str, Values], Effect],
) -> Act:  # fmt: skip
    back = f"/customers/{customer.id}/billing"
    return Act(heading, button, back, customer.id, customer.currency, fields, do, is_prepaid=_is_prepaid(customer))


def _direction() -> Field:
    choices = (("credit", "Lowers what is owed: a credit"), ("more", "Raises what is owed"))
    return Field("direction", "What it does", Kind.CHOICE, choices=choices, required=True)


def _signed(values: Values) -> Decimal:
    given: Decimal = values["amount"]
    if given <= 0:
        raise LedgerError("amount", "The amount is more than zero: what it does is chosen beside it.")
    return -given if values["direction"] == "credit" else given


def _lines(values: Values) -> list[Line]:
    found = []
    for place in range(1, NEW_LINES + 1):
        text, value = values[f"line_{place}"], values[f"amount_{place}"]
        if text and value is None:
            raise LedgerError(f"amount_{place}", f"Say how much {text!r} is.")
        if value is not None and not text:
            raise LedgerError(f"line_{place}", "Say what the line is for.")
        if text:
            found.append(Line(text, value))
    return found


def _title(session: Session, writer: Principal, customer: Customer) -> str:
    return Writing(session, writer).title(TYPES["customer"], customer)


def _is_prepaid(customer: Customer) -> bool:
    return customer.balance_control == "prepaid"


def _balance(customer: Customer) -> str:
    words, _ = balance_words(customer.balance, customer.currency, holds_funds=_is_prepaid(customer))
    return f"The customer {words}" if words.startswith("owes") else f"The customer: {words}"


def _due_words(invoice: Any) -> str:
    due = f"{amount(due_of(invoice), invoice.currency)} {invoice.currency}"
    return f"Invoice {invoice.number}: {due}, due on {day_text(invoice.due_on)}"


def _money(value: Decimal, customer: Customer) -> str:
    return f"{amount(value, customer.currency)} {customer.currency}"


# The steps


def _page(request: Request, act: Act, key: str = "") -> ActPage:
    return ActPage(act, request.url.path, key or clock.random_token(16))


def _with_inputs(
    request: Request, session: Session, writer: Principal, page: ActPage, texts: Mapping[str, str]
) -> None:
    """The form with these texts in it; what is linked by its id stands there by its name."""
    _, zone_name = zone_of(request)
    writing = Writing(session, writer)
    for each in page.act.fields:
        text = texts.get(each.name, "")
        if each.kind is Kind.LINK and text[:1] == "#" and text[1:].isdecimal() and len(text) < 16:
            writing.for_links(each, {int(text[1:])})
            text = writing.link_text(each, int(text[1:]))
        unit = page.act.currency if each.kind is Kind.MONEY else ""
        page.inputs.append(
            make_input(each, text, zone_name=zone_name, paths=PATHS, unit=unit, required=each.required)
        )


def _read(
    session: Session, request: Request, environment: str, page: ActPage, texts: Mapping[str, str]
) -> dict[str, Any]:
    """What the command is given; what is wrong stands in the page."""
    zone, _ = zone_of(request)
    known = Known(session, environment)
    values: dict[str, Any] = {}
    for each in page.act.fields:
        try:
            value = read(each, typed(each, texts[each.name], zone=zone))
            if each.required and value in (None, ""):
                raise ValueError(f"{each.label} is needed.")
            if each.kind is Kind.LINK and value is not None:
                found = known.linked(each, value)
                if found is None:
                    raise ValueError(f"There is no account {texts[each.name]}.")
                value = found.id
            values[each.name] = value
        except ValueError as wrong:
            page.errors[each.name] = str(wrong)
    _tell_errors(page)
    return values


def _tell_errors(page: ActPage) -> None:
    names = {each.name for each in page.inputs}
    page.inputs = [replace(each, error=page.errors.get(each.name, "")) for each in page.inputs]
    page.problems += [text for name, text in page.errors.items() if name not in names]


def _commit(
    records: Engine, actor: Actor, environment: str, writer: Principal, act: Act, do: Callable[[UnitOfWork], Effect],
    key: str, asked: str, seen: str,
) -> int | None:  # fmt: skip
    """The id of its audit record; None: it was done before."""
    facts: list[Any] = []

    def commit(work: UnitOfWork) -> None:
        def answer() -> tuple[int, dict[str, Any]]:
            effect = do(work)
            if digest(effect) != seen:
                raise _Changed(effect.tried())
            facts[:] = [each for each in facts_of(work) if each.money is not None]
            told = facts[0]
            document = documents.effect(effect, sees_personal=writer.sees_personal)
            return 200, {"heading": act.heading, "effect": document, "leaves": act.leaves,
                         "told": [told.entity_type, told.entity_id]}  # fmt: skip

        facts.clear()
        once(work, environment, _key(key), asked, answer)

    do_changing(records, actor, (environment,), commit)
    return facts[0].record_id if facts else None


def _key(key: str) -> str:
    return f"page {key}"


def _done(act: Act, key: str, record: int | None) -> Response:
    query = {"key": key} | ({"record": str(record)} if record is not None else {})
    return RedirectResponse(f"/customers/{act.customer_id}/billing/done?{urlencode(query)}", status_code=303)


def _effect(
    request: Request, writer: Principal, page: ActPage, texts: Mapping[str, str], effect: Effect, status: int = 200
) -> Response:
    page.step, page.seen = "effect", digest(effect)
    document = documents.effect(effect, sees_personal=writer.sees_personal)
    page.lines = effect_lines(document, holds_funds=page.act.is_prepaid, leaves=page.act.leaves)
    page.hidden = list(texts.items())
    for each in page.act.fields:
        text = texts[each.name]
        if text and each.kind is not Kind.FLAG:
            said = dict(each.choices).get(text, text)
            page.said.append((each.label, f"{said} {page.act.currency}" if each.kind is Kind.MONEY else said))
        elif text:
            page.said.append((each.label, text))
    return _answer(request, page, status)


def _refused(request: Request, page: ActPage, why: str) -> Response:
    page.step, page.refusal = "refused", why
    return _answer(request, page, 409)


def _used(request: Request, page: ActPage) -> Response:
    page.anew = True
    return _refused(request, page, "This form was used already, for something else: nothing was done now.")


def _answer(request: Request, page: ActPage, status: int = 200) -> Response:
    template = "money_act_part.html" if "hx-request" in request.headers else "money_act.html"
    return render(request, f"billing/{template}", status, page=page, act=page.act)


# The effect


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
