"""From what a billing engine says when it refuses to the id of the issue: our engine's own ids, else a table as data."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

OWN_FILE = "billing-reasons.toml"  # in the operator's folder of issues
_BUILT_IN = Path(__file__).parent / "billing_reasons.toml"
_NAMES, _CODES = "reasons", "h323_return_code"  # tables of a file; the second is a field's name too
_FIELDS = ("reason", "error_name", "error", "cause")

OTHER = "other"  # a refusal whose reason is none of ours
REASONS = frozenset(
    {
        "destination-forbidden", "destination-not-in-tariff", "insufficient-balance", "credit-limit-reached",
        "account-blocked", "account-suspended", "account-closed", "account-expired", "account-not-active-yet",
        "customer-blocked", "customer-suspended", "customer-limited", "account-unknown", "wrong-password",
        "service-not-in-product", "node-not-in-product", "node-unknown", "too-many-simultaneous-calls", "system-error",
    }
)  # fmt: skip


class ReasonsError(ValueError):
    """A table that cannot be used: the key and why."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(why)
        self.key = key


@dataclass(frozen=True, slots=True)
class Reasons:
    names: Mapping[str, str]  # as `_spelled` -> reason id
    codes: Mapping[str, str]  # h323-return-code as written -> reason id

    def of(self, fields: Mapping[str, str]) -> str:
        """The reason id of a refusing line's fields: the first field that says something known; OTHER where none does."""
        for name in _FIELDS:
            said = _spelled(fields.get(name, ""))
            known = self.names.get(said) or (said.replace("_", "-") if said.replace("_", "-") in REASONS else "")
            if known:
                return known
        return self.codes.get(fields.get(_CODES, "").strip(), OTHER)

    def with_own(self, own: Reasons) -> Reasons:
        return Reasons({**self.names, **own.names}, {**self.codes, **own.codes})


def _spelled(said: str) -> str:
    return said.strip().lower().replace(" ", "_").replace("-", "_")


@lru_cache(1)
def built_in() -> Reasons:
    return read_reasons(_BUILT_IN)


def read_reasons(path: Path) -> Reasons:
    """Raises ReasonsError, and OSError."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ReasonsError("", f"is no TOML: {error}") from error
    tables: dict[str, dict[str, str]] = {_NAMES: {}, _CODES: {}}
    for name, table in document.items():
        if name not in tables or not isinstance(table, dict):
            raise ReasonsError(name, f"is no table of reasons; there are {_NAMES} and {_CODES}")
        for said, reason in table.items():
            if reason not in REASONS:
                raise ReasonsError(f"{name}.{said}", f"must be one of {', '.join(sorted(REASONS))}")
            tables[name][said.strip() if name == _CODES else _spelled(said)] = reason
    return Reasons(tables[_NAMES], tables[_CODES])
