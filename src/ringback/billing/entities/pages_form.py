"""The form of an entity, made from its description: what stands in each input, and what was typed into it.

Between browser and service a value is text: `text_of` writes it. Reading and checking it is the service's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from starlette.datastructures import FormData

from ringback.billing.entities.fields import EntityType, Field, Kind
from ringback.billing.entities.pages_values import decimals
from ringback.billing.entities.personal import masked

_TYPES = {Kind.EMAIL: "email", Kind.URL: "url", Kind.DATE: "date", Kind.TIME: "datetime-local"}
_MODES = {Kind.WHOLE: "numeric", Kind.DIGITS: "numeric", Kind.MONEY: "decimal", Kind.DECIMAL: "decimal"}
_CONTROLS = {
    Kind.FLAG: "check", Kind.CHOICE: "choice", Kind.LONG: "long", Kind.WORDS: "lines", Kind.PAIRS: "lines",
    Kind.SECRET: "secret", Kind.LINK: "link",
}  # fmt: skip
_MOST_TYPED = 200_000  # characters of one input


@dataclass(frozen=True, slots=True)
class Input:
    """One field of a form."""

    field: Field
    control: str  # text choice check long lines secret link; fixed: shown, not typed
    value: str = ""
    error: str = ""
    hint: str = ""
    unit: str = ""
    word: str = "yes"  # beside a check box
    suggest: str = ""  # where a link's suggestions are
    is_set: bool = False  # of a secret
    required: bool = False

    @property
    def name(self) -> str:
        return self.field.name

    @property
    def type(self) -> str:
        return _TYPES.get(self.field.kind, "")

    @property
    def mode(self) -> str:
        return _MODES.get(self.field.kind, "")

    @property
    def mono(self) -> bool:
        return self.field.kind in (Kind.DIGITS, Kind.WORDS, Kind.PAIRS) or self.field.personal == "number"


@dataclass(frozen=True, slots=True)
class Line:
    """A field that somebody else changed while the form was open."""

    name: str
    label: str
    was: str
    theirs: str
    yours: str
    both: bool  # changed by the one who saves, too
    mine: bool = False  # which is chosen
    who: str = ""
    us: int | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    lines: tuple[Line, ...]
    said: str = ""  # who it was, where all of it was one
    us: int | None = None


@dataclass(slots=True)
class EntityForm:
    inputs: list[Input]
    version: int | None = None
    errors: dict[str, str] = field(default_factory=dict)
    conflict: Conflict | None = None
    comment: str = ""

    @property
    def sections(self) -> list[tuple[str, list[Input]]]:
        """In the order in which the description names them."""
        found: dict[str, list[Input]] = {}
        for each in self.inputs:
            found.setdefault(each.field.section, []).append(each)
        return list(found.items())

    @property
    def problems(self) -> list[str]:
        """Of what has no input of its own."""
        named = {each.name for each in self.inputs if each.control != "fixed"}
        return [text for name, text in self.errors.items() if name not in named]


def form_fields(entity: EntityType) -> Iterator[Field]:
    """What a form of this type shows: all but what the product keeps itself."""
    for each in entity.fields:
        if not each.kept:
            yield each


def is_typed(each: Field, *, is_new: bool, sees_personal: bool) -> bool:
    """Else it stands there to be read: it is fixed, or hidden from who would type it."""
    if is_new:
        return True
    return not each.fixed and (sees_personal or not each.personal)


def make_inputs(
    entity: EntityType,
    texts: Mapping[str, str],
    *,
    is_new: bool,
    sees_personal: bool,
    zone_name: str,
    set_secrets: frozenset[str] = frozenset(),
    units: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
    paths: Mapping[str, str],
) -> list[Input]:
    """`texts`: field -> what stands in it. `units`: of amounts, their currency. `paths`: entity type -> path."""
    made = []
    for each in form_fields(entity):
        text, error = texts.get(each.name, ""), (errors or {}).get(each.name, "")
        if not is_typed(each, is_new=is_new, sees_personal=sees_personal):
            hidden = each.personal and not sees_personal
            hint = "Hidden: personal data." if hidden else "Cannot be changed later."
            made.append(Input(each, "fixed", _fixed_text(each, text), error, hint))
            continue
        unit = (units or {}).get(each.name, each.unit)
        required = each.needed or (each.required and not is_new and each.kind is not Kind.FLAG)
        made.append(
            make_input(
                each, text, zone_name=zone_name, error=error, paths=paths, unit=unit, required=required,
                is_set=each.name in set_secrets,
            )
        )  # fmt: skip
    return made


def make_input(
    each: Field, text: str, *, zone_name: str, paths: Mapping[str, str], error: str = "", unit: str = "",
    required: bool = False, is_set: bool = False,
) -> Input:  # fmt: skip
    """One that is typed. `is_set`: of a secret, whether there is one already."""
    hint = each.help
    if each.kind is Kind.TIME:
        hint = f"{hint} In the zone {zone_name}.".strip()
    elif each.kind is Kind.PAIRS:
        hint = f"{hint} One a line: name = value.".strip()
    elif each.kind is Kind.WORDS and "one a line" not in hint:
        hint = f"{hint} One a line.".strip()
    elif is_set:
        hint = f"{hint} Set; leave empty to keep it.".strip()
    suggest = f"/{paths[each.links_to]}/suggest" if each.links_to else ""
    return Input(
        each, _CONTROLS.get(each.kind, "text"), text, error, hint, unit or each.unit,
        suggest=suggest, is_set=is_set, required=required,
    )  # fmt: skip


def _fixed_text(each: Field, text: str) -> str:
    return dict(each.choices).get(text, text)


def text_of(each: Field, value: Any, *, zone: ZoneInfo, title: str = "", sees_personal: bool = True) -> str:
    """A value as it stands in an input. `title`: of what a link leads to."""
    if each.kind is Kind.FLAG:
        return "yes" if value else "no"
    if each.kind is Kind.SECRET or value is None:
        return ""
    if each.personal and not sees_personal:
        value = masked(each, value)
    match each.kind:
        case Kind.LINK:
            return title or f"#{value}"
        case Kind.MONEY | Kind.DECIMAL:
            return f"{value:.{decimals(value)}f}"
        case Kind.DATE:
            return str(value.isoformat())
        case Kind.TIME:
            return str(value.astimezone(zone).replace(tzinfo=None).isoformat(timespec="seconds"))
        case Kind.WORDS:
            return "\n".join(str(one) for one in value)
        case Kind.PAIRS:
            return "\n".join(f"{name} = {one}" for name, one in value.items())
        case _:
            return str(value)


def typed_texts(
    entity: EntityType, form: FormData, *, is_new: bool, sees_personal: bool
) -> tuple[dict[str, str], frozenset[str]]:
    """Field -> text of what was sent and may be typed; and the secrets that shall be removed."""
    texts, removed = {}, set()
    for each in form_fields(entity):
        if not is_typed(each, is_new=is_new, sees_personal=sees_personal):
            continue
        sent = [one for one in form.getlist(each.name) if isinstance(one, str)]
        if not sent:
            continue
        texts[each.name] = sent[-1][:_MOST_TYPED].replace("\r\n", "\n")
        if each.secret and form.get(f"{each.name}-remove"):
            removed.add(each.name)
    return texts, frozenset(removed)


def typed(each: Field, text: str, *, zone: ZoneInfo) -> object:
    """What the service is given for the text of an input: a moment was typed in the reader's zone, ``#12`` is the
    entity of that id. All else it reads and checks itself. Raises ValueError with a sentence fit to be shown."""
    if each.kind is Kind.TIME and text.strip():
        return _moment(text.strip(), zone)
    if each.kind is Kind.LINK and re.fullmatch(r"#\d{1,18}", text.strip(), re.ASCII):
        return int(text.strip()[1:])
    return text


def _moment(text: str, zone: ZoneInfo) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no date and time such as 2026-11-22 14:30.") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
