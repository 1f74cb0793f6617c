"""Personal data in entities: what stands for it where a reader may not see it."""

from __future__ import annotations

from typing import Any, cast

from ringback.access.masking import Kind as Mask
from ringback.access.masking import mask
from ringback.billing.entities.fields import Field


def masked(field: Field, value: Any) -> Any:
    """A value of a personal field with its personal part hidden."""
    how = cast("Mask", field.personal)
    if isinstance(value, str):
        return mask(value, how)
    if isinstance(value, list):
        return [mask(each, how) for each in value]
    return value


def is_masked(field: Field, value: Any, given: object) -> bool:
    """Whether the mask of a value came back in its place: from a form or list of somebody who sees no more."""
    return bool(field.personal) and bool(value) and given == masked(field, value)
