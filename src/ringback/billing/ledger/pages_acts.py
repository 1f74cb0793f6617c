"""What is done with money on pages, in three steps: a form, the effect before it is confirmed, and what was done.

The form carries a key of its own: sent twice it is done once. Between the second step and the third somebody else may have
moved something: then the effect is shown again, and nothing was done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Request
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from ringback import clock
from ringback.access.dependencies import CurrentActor, Records, may
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.billing.entities.fields import Kind
from ringback.billing.entities.known import Known
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.pages_base import PATHS, Posted, Writing, text_field, zone_of
from ringback.billing.entities.pages_form import Input, make_input, typed
from ringback.billing.entities.pages_object import Link
from ringback.billing.entities.values import read
from ringback.billing.ledger import documents, queries, service
from ringback.billing.ledger.acts import ACTS, Act, Make, is_prepaid
from ringback.billing.ledger.errors import KeyReused, LedgerError, NotNow
from ringback.billing.ledger.idempotency import fingerprint, once
from ringback.billing.ledger.models import Command
from ringback.billing.ledger.pages_effect import EffectLine, digest, effect_lines
from ringback.billing.ledger.schemas import Effect
from ringback.changes.history import last_record
from ringback.changes.schemas import Actor
from ringback.changes.service import do_changing
from ringback.changes.tracked import facts_of
from ringback.problem import Problem
from ringback.records.engine import UnitOfWork, reading
from ringback.web.templating import render

Writer = Annotated[Principal, may(Permission.CUSTOMERS_READ, Permission.MONEY_WRITE)]
RowId = Annotated[int, Path(ge=1, le=2**53 - 1)]

_FEW_LINKS = 4  # to xDRs of what was done


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


def register(router: APIRouter) -> None:
    for path, make in ACTS.items():
        shown, sent = _endpoints(make)
        router.add_api_route(path, shown, methods=["GET"])
        router.add_api_route(path, sent, methods=["POST"])
    router.add_api_route("/customers/{row_id:int}/billing/done", done_page, methods=["GET"])


def _endpoints(make: Make) -> tuple[Callable[..., Response], Callable[..., Response]]:
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
        effect = documents.masked(effect)
    links = []
    if effect["i_payment"]:
        links.append(Link(f"Payment {effect['i_payment']}", f"/payments/{effect['i_payment']}"))
    if effect["i_invoice"]:
        links.append(Link("The invoice", f"/invoices/{effect['i_invoice']}"))
    links += [Link(f"xDR {each}", f"/xdrs/{each}") for each in effect["i_xdrs"][:_FEW_LINKS]]
    return render(
        request, "billing/money_done.html", heading=command.answer["heading"], title=title, row_id=row_id,
        lines=effect_lines(effect, holds_funds=is_prepaid(customer), leaves=command.answer["leaves"], done=True),
        links=links, record=record,
        us=clock.to_us(command.done_at),
    )  # fmt: skip


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
