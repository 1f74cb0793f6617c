"""What the URL of a list asks for."""

from __future__ import annotations

from sqlalchemy.orm import Session

from ringback.access.schemas import Principal
from ringback.billing.entities import queries
from ringback.billing.entities.fields import EntityType, Kind
from ringback.billing.entities.known import Known
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.pages_base import PATHS, Writing
from ringback.billing.entities.pages_list import ListView, chips, filters
from ringback.billing.entities.pages_values import in_sentence


def asked(session: Session, entity: EntityType, reader: Principal, params: dict[str, str]) -> ListView:
    """What a list's URL asks for; links may be named, and stand there by their ids afterwards."""
    known = {"q", "sort", "cursor", *(each.api for each in queries.filters_of(entity)), queries.STATUS}
    wanted = {name: value.strip()[:255] for name, value in params.items() if name in known and value.strip()}
    cursor = wanted.pop("cursor", "")
    view = ListView(entity, [], [], wanted, cursor=cursor)
    writing = Writing(session, reader)
    names: dict[str, str] = {}
    links = Known(session, reader.environments[0])
    for each in queries.filters_of(entity):
        text = wanted.get(each.api, "")
        if each.kind is not Kind.LINK or not text or text.lower() == "none":
            continue
        found = links.linked(each, int(text) if text.isdecimal() and len(text) < 16 else text)
        if found is None:
            view.errors[each.api] = f"There is no {in_sentence(TYPES[each.links_to].about.label)} {text}."
        else:
            wanted[each.api] = str(found.id)
            writing.for_links(each, {found.id})
            names[each.api] = writing.link_text(each, found.id)
    view.filters = filters(entity, wanted, names, PATHS)
    view.chips = chips(view, names)
    return view
