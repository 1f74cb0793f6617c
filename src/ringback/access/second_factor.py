"""The second factor: six digits from an authenticator (TOTP, RFC 6238), or a recovery code in their place."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import datetime

import pyotp
import segno
from sqlalchemy import delete

from ringback.access import queries
from ringback.access.models import RecoveryCode, User
from ringback.access.schemas import AccessError
from ringback.changes.service import note_on
from ringback.records.engine import UnitOfWork

ISSUER = "Ringback"  # under which the authenticator lists the account
STEP_SECONDS = 30
CODES = 10  # recovery codes of a person
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none is taken for another one
_GROUPS, _GROUP = 4, 4  # of letters in a recovery code: 79 bits


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What the authenticator is told, by camera or by hand."""

    secret: str = field(repr=False)  # base32
    picture: str = field(repr=False)  # a QR code, SVG


def enrolment(user: User) -> Enrolment | None:
    """Of a second factor that was begun and not confirmed."""
    if user.totp_secret is None or user.totp_confirmed_at is not None:
        return None
    address = pyotp.TOTP(user.totp_secret, name=user.name, issuer=ISSUER).provisioning_uri()
    return Enrolment(user.totp_secret, segno.make(address, error="m", micro=False).svg_inline(scale=4))


def begin(user: User) -> None:
    """A new secret, which is asked for once a code of it was shown. Raises AccessError."""
    if user.totp_confirmed_at is not None:
        raise AccessError("code", "Your second factor is set up already.")
    user.totp_secret = pyotp.random_base32()


def confirm(work: UnitOfWork, user: User, code: str, now: datetime) -> list[str]:
    """From now on it is asked for. Returns the recovery codes, shown this once. Raises AccessError."""
    if user.totp_secret is None or user.totp_confirmed_at is not None:
        raise AccessError("code", "There is no second factor to confirm.")
    if not _is_next(work, user, user.totp_secret, _digits(code), now):
        raise AccessError("code", "That is not the code the authenticator shows now. Is the time of both right?")
    user.totp_confirmed_at = now
    return new_recovery_codes(work, user)


def accept(work: UnitOfWork, user: User, code: str, now: datetime) -> str:
    """How the code was right: "code", "recovery code", or "" where it is wrong. It is used up. `user` is locked."""
    if user.totp_secret is None:
        return ""
    if _is_next(work, user, user.totp_secret, _digits(code), now):
        return "code"
    used = work.get(RecoveryCode, (user.id, _recovery_hash(code)))
    if used is None:
        return ""
    work.delete(used)
    return "recovery code"


def new_recovery_codes(work: UnitOfWork, user: User) -> list[str]:
    """Those that were there are worth nothing any more."""
    codes = ["-".join(_letters(_GROUP) for _ in range(_GROUPS)) for _ in range(CODES)]
    work.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    work.add_all(RecoveryCode(user_id=user.id, code_hash=_recovery_hash(code)) for code in codes)
    note_on(work, "recovery_codes.made", user, count=CODES)
    return codes


def turn_off(work: UnitOfWork, user: User) -> None:
    """`user` is locked."""
    user.totp_secret = user.totp_confirmed_at = None
    work.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))


def _is_next(work: UnitOfWork, user: User, secret: str, digits: str, now: datetime) -> bool:
    """Whether they are those of now, or of a step earlier or later, and of no step that was used."""
    sign_in = queries.sign_in(work, user.id)
    this = int(now.timestamp()) // STEP_SECONDS
    for step in (this, this - 1, this + 1):
        right = hmac.compare_digest(pyotp.TOTP(secret).generate_otp(step).encode(), digits.encode())
        if right and step > (sign_in.totp_step or 0):
            sign_in.totp_step = step
            return True
    return False


def _digits(code: str) -> str:
    return "".join(code.split())


def _recovery_hash(code: str) -> str:
    """It is long and random, so that a fast hash is enough."""
    return hashlib.sha256("".join(letter for letter in code.lower() if letter in _LETTERS).encode()).hexdigest()


def _letters(count: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(count))
