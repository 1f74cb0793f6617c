"""Which properties of what is tracked are personal data: masked in the log, and found by the search for it.

Rules of traffic are not ours to import: who copies or shows records has their models among the mappers.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy.orm import Mapper

from ringback.access import models as _people  # noqa: F401 -- what is asked about is among the mappers
from ringback.billing.entities.models import TYPES
from ringback.records.tables import Record


@cache
def personal_properties(entity_type: str) -> frozenset[str]:
    """Of an entity with pages as it is described; of what has none, such as people, as its columns are marked."""
    described = TYPES.get(entity_type)
    return frozenset(field.name for field in (described.fields if described else ()) if field.personal) | {
        prop.key
        for mapper in _mappers(entity_type)
        for prop in mapper.column_attrs
        if prop.columns[0].info.get("personal")
    }


@cache
def is_named_personally(entity_type: str) -> bool:
    """Whether what is no entity with pages is called by personal data, as rules of traffic are."""
    return any(mapper.class_.__named_personally__ for mapper in _mappers(entity_type))


def _mappers(entity_type: str) -> list[Mapper[Any]]:
    return [each for each in Record.registry.mappers if getattr(each.class_, "__entity__", "") == entity_type]
