"""Numbers as people type them and as nodes write them, brought to one form, so that both sides of a search agree.

One form: digits only where the text is a telephone number (visual separators of RFC 3966 section 5.1.1 and a leading
``+`` dropped), else the user name in lower case.
"""

from __future__ import annotations

from urllib.parse import unquote

from ringback.events.store import NumberPattern

_VISUAL = str.maketrans("", "", "-.() /\u00a0\u2010\u2011\u2012\u2013\u202f")
_SCHEMES = ("sip:", "sips:", "tel:", "callto:")


def digits(user: str) -> str:
    """``+1 (210) 335-5787`` -> ``12103355787``; ``John.Doe`` -> ``john.doe``; ``*98`` stays.

    `user` is the user part of a URI: its parameters (``;phone-context=``) and a password are dropped.
    """
    if user.isdigit() and user.isascii():
        return user
    for mark in ";:":
        user = user.partition(mark)[0]
    if "%" in user:
        user = unquote(user)
    bare = user.translate(_VISUAL).removeprefix("+")
    if bare.isdigit() and bare.isascii():
        return bare
    return user.strip().lower()


def pattern(text: str) -> NumberPattern:
    """How a number or user name typed in a search box is meant.

    A bare number matches at the end (people type local forms), a user name as a whole; ``%`` at either end says
    otherwise: ``44%`` begins, ``%787`` ends, ``%335%`` contains. A URI stands for its user part.
    Raises ValueError, its text fit to be shown, where nothing is left to search for.
    """
    typed = text.strip().strip("<>")
    for scheme in _SCHEMES:
        if typed.lower().startswith(scheme):
            typed = typed[len(scheme) :]
            break
    typed = typed.partition("@")[0].strip()
    from_start, to_end = not typed.startswith("%"), not typed.endswith("%")
    inner = typed.strip("%")
    if "%" in inner:
        raise ValueError("the wildcard % can stand at the start and at the end only")
    if inner.startswith(("+", "00")):
        inner = inner.replace("(0)", "")  # "+44 (0)20 ...": the zero is dialled only inside the country
    word = digits(inner)
    if not word:
        raise ValueError("type a number or a user name")
    match (from_start, to_end):
        case (True, True):
            numeric = word.isdigit() and word.isascii()
            return NumberPattern(word, "suffix" if numeric else "exact")
        case (True, False):
            return NumberPattern(word, "prefix")
        case (False, True):
            return NumberPattern(word, "suffix")
        case _:
            return NumberPattern(word, "contains")
