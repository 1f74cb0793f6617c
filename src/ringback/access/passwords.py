"""Passwords: argon2id with the RFC 9106 low-memory parameters, a few at a time."""

from __future__ import annotations

import secrets
from functools import cache
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from ringback.access.schemas import AccessError

SHORTEST = 10
LONGEST = 256  # more is refused: hashing takes time
_GUESSED = 40  # characters are tried to be guessed; that takes time, and is enough
_WEAK = 3  # zxcvbn: 0 risky, 4 very unguessable; 3 withstands what an offline attack costs today
_LETTERS = "abcdefghjkmnpqrstuvwxyzACDEFGHJKLMNPQRTUVWXYZ23456789"  # none is taken for another one

_hasher = PasswordHasher()
_places = BoundedSemaphore(2)  # one hash takes 64 MiB: a burst of logins must not take the machine


def hash_password(password: str) -> str:
    with _places:
        return _hasher.hash(password)


def verify_password(password_hash: str, password: str) -> bool:
    if len(password) > LONGEST:
        return False
    with _places:
        try:
            return _hasher.verify(password_hash, password)
        except VerifyMismatchError:
            return False


def needs_new_hash(password_hash: str) -> bool:
    return _hasher.check_needs_rehash(password_hash)


@cache
def nobodys_hash() -> str:
    """Verified against when there is no such user, so that the answer takes as long."""
    return hash_password(secrets.token_hex())


def random_password() -> str:
    """20 characters in groups of 5, 114 bits."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(20))
    return "-".join(letters[start : start + 5] for start in range(0, 20, 5))


def check_new_password(name: str, password: str, *more: str) -> None:
    """Not short, not long, without the name, not among those that are guessed first. `more` is what is known of the
    person (full name, e-mail). Raises AccessError."""
    if len(password) < SHORTEST:
        raise AccessError("new_password", f"The new password needs at least {SHORTEST} characters.")
    if len(password) > LONGEST:
        raise AccessError("new_password", f"The new password may have at most {LONGEST} characters.")
    if name.lower() in password.lower() or len(set(password)) < 5:
        raise AccessError(
            "new_password", "The new password is too easy: no name in it, and five different characters."
        )
    from zxcvbn import zxcvbn  # with 100,000 words and passwords that are used most: read when they are needed

    known = [name, "ringback", *(word for text in more for word in text.replace("@", " ").split())]
    guess = zxcvbn(password[:_GUESSED], user_inputs=known)
    if guess["score"] < _WEAK:
        why = guess["feedback"]["warning"].rstrip(".")
        raise AccessError(
            "new_password",
            f"The new password is guessed too quickly{f' ({why})' if why else ''}. Put together a few uncommon words.",
        )
