"""A kind of option: several secrets that hold at once, so that they can be rotated. Sealed as soon as they are given.

Stored as [{"id": "3f2a91", "sealed": "..."}]: the id is random and tells the secrets apart without telling them.
Given as {"keep": [ids of those that stay], "add": [new ones, in clear]}; what is not kept goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ringback import clock
from ringback.configuration.kinds import Json

LONGEST = 255  # characters of one secret
_SEALED_AS = "configuration_values.value"


@dataclass(frozen=True)
class SealedList:
    most: int  # at once
    noun: str = "secret"

    secret = True

    @property
    def bounds(self) -> str:
        return f"at most {self.most} at once, each at most {LONGEST} characters"

    @property
    def schema(self) -> dict[str, Json]:
        texts: Json = {"type": "array", "items": {"type": "string", "maxLength": LONGEST}}
        return {"type": "object", "properties": {"keep": texts, "add": texts}, "additionalProperties": False}

    def draft(self, given: Json, before: Json) -> Json:
        if not isinstance(given, Mapping) or given.keys() - {"keep", "add"}:
            raise ValueError('Give {"keep": [ids], "add": [new ones]}.')
        keep, add = _texts(given.get("keep", [])), _texts(given.get("add", []))
        known = {each["id"]: each for each in _items(before)}
        unknown = [each for each in keep if each not in known]
        if unknown:
            raise ValueError(f"There is no {self.noun} {unknown[0][:40]!a} to keep.")
        items: list[Json] = [{**known[each]} for each in known if each in keep]
        ids = set(known)
        for secret in filter(None, (each.strip() for each in add)):
            if len(secret) > LONGEST or not secret.isprintable():
                raise ValueError(f"A {self.noun} is one line of at most {LONGEST} characters.")
            items.append({"id": _new_id(ids), "sealed": _seal(secret)})
        return items

    def check(self, drafted: Json) -> Json:
        found = [_unseal(each["sealed"]) for each in _items(drafted)]
        if len(found) > self.most:
            raise ValueError(f"The most are {self.most} at once; these are {len(found)}.")
        if len(set(found)) < len(found):
            raise ValueError(f"One {self.noun} is there twice.")
        return drafted

    def load(self, stored: Json) -> tuple[str, ...]:
        return tuple(_unseal(each["sealed"]) for each in _items(stored))

    def tell(self, stored: Json) -> str:
        ids = [each["id"] for each in _items(stored)]
        return f"{len(ids)} {self.noun}{'s' * (len(ids) != 1)}: {', '.join(ids)}" if ids else "none"

    def show(self, stored: Json) -> Json:
        """The ids alone."""
        return ids_of(stored)

    def store(self, value: tuple[str, ...]) -> Json:
        """Of what an environment variable says."""
        return [{"id": "variable" + str(number or ""), "sealed": _seal(each)} for number, each in enumerate(value)]


def ids_of(stored: Json) -> list[str]:
    return [each["id"] for each in _items(stored)]


def _items(stored: Json) -> list[dict[str, str]]:
    items = stored if isinstance(stored, list) else []
    return [
        {"id": str(each["id"]), "sealed": str(each["sealed"])}
        for each in items
        if isinstance(each, dict) and each.keys() >= {"id", "sealed"}
    ]


def _texts(given: Json) -> list[str]:
    if isinstance(given, str) or not isinstance(given, Sequence) or not all(isinstance(each, str) for each in given):
        raise ValueError("Give lists of texts.")
    return [each for each in given if isinstance(each, str)]


def _new_id(taken: set[str]) -> str:
    while (made := clock.random_token(3).encode().hex()[:6]) in taken:
        pass
    taken.add(made)
    return made


def _seal(secret: str) -> str:
    from ringback.records.secrets import seal  # not above: a HEP worker without secrets loads no cryptography

    return seal(secret, _SEALED_AS)


def _unseal(sealed: str) -> str:
    """Raises ValueError."""
    from ringback.records.secrets import SecretsUnavailable, unseal

    try:
        return unseal(sealed, _SEALED_AS)
    except SecretsUnavailable as error:
        raise ValueError(str(error)) from error
