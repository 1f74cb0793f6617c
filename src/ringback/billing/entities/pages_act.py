"""What an act on one or many entities will do, as its dialog tells before it is done."""

from __future__ import annotations

from dataclasses import dataclass, field

from ringback.billing.entities.fields import EntityType
from ringback.billing.entities.pages_form import Input
from ringback.billing.entities.pages_list import VERBS
from ringback.billing.entities.pages_object import Link
from ringback.billing.entities.pages_values import in_sentence
from ringback.web.formats import number

SHOWN = 20  # effects told one by one


@dataclass(frozen=True, slots=True)
class Effect:
    title: str
    was: str = ""
    becomes: str = ""
    problem: str = ""  # why it is refused


@dataclass(slots=True)
class Act:
    heading: str
    action: str
    back: str
    what: str = ""  # head of the column of names
    count: int = 1
    asks: bool = False  # a step that asks for a value: its answer comes in the same dialog
    confirms: bool = False
    destroys: bool = False
    button: str = ""
    comment: str = ""
    refusal: str = ""
    users: list[Link] = field(default_factory=list)
    hidden: list[tuple[str, str]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    inputs: list[Input] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    more: int = 0


def counted(entity: EntityType, count: int) -> str:
    """``37 accounts``, ``1 account``."""
    return f"{number(count)} {in_sentence(entity.about.label if count == 1 else entity.about.plural)}"


def verb(field_name: str, value: str) -> str:
    """``Block``; "" where the field has no verb."""
    pair = VERBS.get(field_name)
    return "" if pair is None else pair[0 if value == "yes" else 1]
