"""The rules of ownership over HTTP: /api/v1/traffic-rules."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from ringback.access.dependencies import CurrentActor, Records, may_for_all
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.changes.service import do_changing
from ringback.problem import Problem
from ringback.records.engine import UnitOfWork
from ringback.records.wall import EVERYWHERE
from ringback.sessions.ownership import service
from ringback.sessions.ownership.dependencies import RulesInForce
from ringback.sessions.ownership.rules import KINDS, LONGEST_VALUE, MOST_RULES, RuleError
from ringback.sessions.ownership.schemas import Evidence, RuleForm, RuleList, RulesChanged

router = APIRouter(prefix="/api/v1/traffic-rules", tags=["traffic rules"])

# Rules, and the senders they are made of, are addresses and numbers of people.
Administrator = Annotated[Principal, may_for_all(Permission.ENVIRONMENTS_WRITE, Permission.PERSONAL_READ)]
Text = Annotated[str, Field(max_length=1000)]


class RuleDocument(BaseModel, extra="forbid"):
    kind: Annotated[str, Field(max_length=16, description=", ".join(KINDS))]
    value: Annotated[
        str,
        Field(
            max_length=LONGEST_VALUE,
            description="node: a capture id or a node's name; address: an address or network; domain: a SIP domain or "
            "*.domain; account: a number, or 44% for all that begin with it; everything: empty",
        ),
    ] = ""
    environment: Annotated[str, Field(max_length=64, description="Key of the environment that it comes to")]


class RulesDocument(BaseModel, extra="forbid"):
    version: Annotated[str, Field(max_length=64, description="Of the list that was read; another one is refused")]
    rules: Annotated[list[RuleDocument], Field(max_length=MOST_RULES)]


class EvidenceDocument(BaseModel, extra="forbid"):
    """Of a session's first message, or of a log line: as much as is known."""

    node: Text = ""
    source: Text = ""
    destination: Text = ""
    request_uri: Text = ""
    sender: Annotated[str, Field(max_length=1000, alias="from")] = ""
    recipient: Annotated[str, Field(max_length=1000, alias="to")] = ""
    auth_user: Text = ""
    account: Text = ""
    domain: Text = ""


class VerdictDocument(BaseModel):
    place: Annotated[int | None, Field(description="Of the rule that decides, from 1; null: none does")]
    rule: RuleDocument | None
    environment: str


@router.get("")
def read_rules(user: Administrator, records: Records) -> RulesDocument:
    """In order: the first rule that matches a session's first message, or a log line, decides."""
    return _document(service.list_rules(records))


@router.put("")
def write_rules(
    body: RulesDocument, user: Administrator, records: Records, actor: CurrentActor, in_force: RulesInForce
) -> RulesDocument:
    """The whole list at once, all or nothing. What is stored stays where it is; collectors follow within 5 s."""

    def change(work: UnitOfWork) -> None:
        known, rules = service.known(work), []
        for place, each in enumerate(body.rules):
            try:
                rules.append(service.checked(RuleForm(each.kind, each.value, each.environment), *known))
            except RuleError as error:
                raise RuleError(f"rules[{place}].{error.field}", error.reason) from error
        service.replace_rules(work, body.version, rules)

    try:
        do_changing(records, actor, EVERYWHERE, change)
    except RuleError as error:
        raise Problem(422, error.reason, title="The rules cannot be kept", field=error.field) from error
    except RulesChanged as error:
        raise Problem(409, str(error), title="Changed meanwhile", field="version") from error
    in_force.forget()
    return _document(service.list_rules(records))


@router.post("/test")
def try_rules(body: EvidenceDocument, user: Administrator, in_force: RulesInForce) -> VerdictDocument:
    """Which rule would decide about traffic like that. Nothing is stored."""
    verdict = service.test_rules(in_force(), Evidence(**body.model_dump()))
    rule = verdict.rule
    return VerdictDocument(
        place=verdict.place,
        rule=RuleDocument(kind=rule.kind, value=rule.value, environment=rule.environment) if rule else None,
        environment=verdict.environment,
    )


def _document(found: RuleList) -> RulesDocument:
    return RulesDocument(
        version=found.version,
        rules=[
            RuleDocument(kind=each.rule.kind, value=each.rule.value, environment=each.rule.environment)
            for each in found.rules
        ],
    )
