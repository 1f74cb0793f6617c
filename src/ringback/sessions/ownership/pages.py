"""Whose traffic it is: the rules, how much they leave unassigned, and a place to try them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request
from sqlalchemy import Engine
from starlette.responses import RedirectResponse, Response

from ringback import clock
from ringback.access.dependencies import CurrentActor, Records, may_for_all
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.changes.schemas import Actor
from ringback.changes.service import do_changing
from ringback.events.store import EventStore, EventStoreError
from ringback.records.engine import UnitOfWork
from ringback.records.environments import UNASSIGNED
from ringback.records.wall import EVERYWHERE
from ringback.sessions.dependencies import Events
from ringback.sessions.ownership import service
from ringback.sessions.ownership.dependencies import RulesInForce
from ringback.sessions.ownership.rules import KINDS, Rule, RuleError
from ringback.sessions.ownership.schemas import Evidence, RuleForm, RuleInfo, RuleNotFound, RulesChanged
from ringback.sessions.ownership.service import RuleRegister
from ringback.sessions.ownership.unassigned import Unassigned, unassigned
from ringback.web.flash import flash
from ringback.web.templating import render

PATH = "/environments/traffic"
LOOK_BACK_US = 24 * 3_600_000_000
PAGE_RULES = 100
MOST_SENDERS = 30  # of each kind

router = APIRouter(prefix=PATH, include_in_schema=False)

# Rules, and the senders they are made of, are addresses and numbers of people.
Administrator = Annotated[Principal, may_for_all(Permission.ENVIRONMENTS_WRITE, Permission.PERSONAL_READ)]
Text = Annotated[str, Form(max_length=1000)]
Word = Annotated[str, Query(max_length=1000)]


@dataclass(slots=True)
class _View:
    """What the page shows besides the rules as they are: what was typed, and what was wrong with it."""

    edit: int = 0  # id of the rule that is being changed
    form: RuleForm | None = None
    errors: dict[str, str] = field(default_factory=dict)
    sender: str = ""  # "kind value" of the sender that a rule was to be made of
    words: str = ""
    page: int = 1
    evidence: Evidence | None = None
    status: int = 200


@dataclass(frozen=True, slots=True)
class _Changing:
    """What every change of the rules comes with."""

    request: Request
    records: Engine
    events: EventStore
    actor: Actor
    in_force: RuleRegister
    version: str  # of the list that it was made for

    def make(self, change: Callable[[UnitOfWork], str], view: _View) -> Response:
        """Back to the list where it was done; the form again, with what is wrong, where it was not. `change` says what
        was done."""
        response = RedirectResponse(PATH, status_code=303)
        try:
            done = do_changing(self.records, self.actor, EVERYWHERE, change)
        except RuleError as error:
            view.errors, view.status = {error.field: error.reason}, 400
            return _page(self.request, self.records, self.events, self.in_force, view)
        except (RuleNotFound, RulesChanged) as error:
            flash(response, str(error), "warn")
            return response
        self.in_force.forget()
        flash(response, done)
        return response


def _changing(
    request: Request,
    reader: Administrator,
    records: Records,
    events: Events,
    actor: CurrentActor,
    in_force: RulesInForce,
    version: Text,
) -> _Changing:
    return _Changing(request, records, events, actor, in_force, version)


def _typed(kind: Text = "", value: Text = "", environment: Text = "") -> RuleForm:
    return RuleForm(kind, value, environment)


Changing = Annotated[_Changing, Depends(_changing)]
Typed = Annotated[RuleForm, Depends(_typed)]
RuleId = Annotated[int, Form()]


@router.get("")
def traffic_page(
    request: Request,
    reader: Administrator,
    records: Records,
    events: Events,
    in_force: RulesInForce,
    edit: int = 0,
    q: Word = "",
    page: Annotated[int, Query(ge=1, le=1000)] = 1,
    tried: Word = "",
    node: Word = "",
    source: Word = "",
    destination: Word = "",
    request_uri: Word = "",
    sender: Word = "",
    recipient: Word = "",
    auth_user: Word = "",
) -> Response:
    evidence = Evidence(node, source, destination, request_uri, sender, recipient, auth_user) if tried else None
    view = _View(edit=edit, words=q.strip(), page=page, evidence=evidence)
    return _page(request, records, events, in_force, view)


@router.post("")
def add(changing: Changing, form: Typed, sender: Text = "") -> Response:
    """`sender` is set where the rule was made of an unassigned sender."""

    def change(work: UnitOfWork) -> str:
        rule = service.checked(form, *service.known(work))
        place = service.add_rule(work, changing.version, rule)
        return f"{_told(rule)} comes to {rule.environment} from now on: the {service.ordinal(place)} rule."

    return changing.make(change, _View(form=form, sender=sender))


@router.post("/change")
def change_one(
    changing: Changing, form: Typed, rule: RuleId, place: Annotated[int, Form(ge=0, le=100_000)] = 0
) -> Response:
    """Also to another place, where one is given."""

    def change(work: UnitOfWork) -> str:
        new = service.checked(form, *service.known(work))
        service.change_rule(work, changing.version, rule, new, place)
        return f"The rule for {_told(new)} is changed."

    return changing.make(change, _View(form=form, edit=rule))


@router.post("/move")
def move_one(changing: Changing, rule: RuleId, place: Annotated[int, Form(ge=1, le=100_000)]) -> Response:
    def change(work: UnitOfWork) -> str:
        service.move_rule(work, changing.version, rule, place)
        return f"The rule is the {service.ordinal(place)} now."

    return changing.make(change, _View())


@router.post("/remove")
def remove_one(changing: Changing, rule: RuleId) -> Response:
    def change(work: UnitOfWork) -> str:
        service.remove_rule(work, changing.version, rule)
        return "The rule is removed. What is stored stays where it is."

    return changing.make(change, _View())


def _page(request: Request, records: Engine, events: EventStore, in_force: RuleRegister, view: _View) -> Response:
    found = service.list_rules(records)
    numbered = list(enumerate(found.rules, 1))
    shown = [each for each in numbered if _says(each[1], view.words)]
    if view.edit:  # on whatever page it is
        places = [at for at, (_, info) in enumerate(shown) if info.id == view.edit]
        view.page = places[0] // PAGE_RULES + 1 if places else view.page
    start = (view.page - 1) * PAGE_RULES
    left, unread = _unassigned(events)
    last = next((place for place, info in numbered if info.rule.kind == "everything"), 0)
    context: dict[str, Any] = {
        "version": found.version,
        "rules": shown[start : start + PAGE_RULES],
        "total": len(numbered),
        "matching": len(shown),
        "pages": -(-len(shown) // PAGE_RULES),
        "last": last,
        "ordinal": service.ordinal,
        "kinds": KINDS,
        "environments": service.environments(records),
        "unassigned_key": UNASSIGNED,
        "left": left,
        "unread": unread,
        "most_senders": MOST_SENDERS,
        "verdict": service.test_rules(in_force(), view.evidence) if view.evidence else None,
        "typed": asdict(view.evidence or Evidence()),
        "view": view,
        "told": _told,
    }
    return render(request, "sessions/traffic.html", status_code=view.status, **context)


def _unassigned(events: EventStore) -> tuple[Unassigned | None, str]:
    """How much is unassigned, and why that could not be read."""
    now = clock.now_us()
    try:
        return unassigned(events, now - LOOK_BACK_US, now), ""
    except EventStoreError as error:
        return None, str(error)


def _says(info: RuleInfo, words: str) -> bool:
    rule = info.rule
    text = " ".join((rule.kind, rule.value, rule.environment, *rule.senders)).lower()
    return all(word in text for word in words.lower().split())


def _told(rule: Rule) -> str:
    return "Everything" if rule.kind == "everything" else f"{rule.kind.capitalize()} {rule.value}"
