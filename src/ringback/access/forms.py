"""What the room's forms send, as what is meant by it."""

from __future__ import annotations

from starlette.datastructures import FormData

from ringback.access.permissions import Role
from ringback.access.schemas import PersonForm, TokenForm

_PERSONAL = {"role": None, "granted": True, "taken": False}


def token_form(form: FormData) -> tuple[TokenForm, dict[str, str]]:
    """With what cannot be understood of it, by field."""
    days = _text(form, "token_expires").strip()
    wanted = TokenForm(
        _text(form, "token_name").strip(),
        _texts(form, "scope"),
        _texts(form, "environment"),
        int(days) if days.isdecimal() and len(days) < 6 else None,
    )
    if days and wanted.expires_days is None:
        return wanted, {"token_expires": "Give a number of days, or nothing for a token that never expires."}
    return wanted, {}


def person_form(form: FormData) -> tuple[PersonForm, dict[str, str]]:
    """With what cannot be understood of it, by field."""
    role = _text(form, "role")
    known = role in {each.value for each in Role}
    wanted = PersonForm(
        _text(form, "name").strip().lower(),
        _text(form, "full_name"),
        _text(form, "email"),
        Role(role) if known else Role.READ_ONLY,
        _texts(form, "environment"),
        bool(_text(form, "everywhere")),
        _PERSONAL.get(_text(form, "personal")),
        with_password=_text(form, "sign_in") != "elsewhere",
    )
    return wanted, {} if known else {"role": "Choose a role."}


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value[:1000] if isinstance(value, str) else ""


def _texts(form: FormData, name: str) -> tuple[str, ...]:
    return tuple(value[:64] for value in form.getlist(name)[:500] if isinstance(value, str))
