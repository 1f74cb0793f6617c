"""One message that survives one redirect, in a cookie: `flash(response, ...)` before, `take(request)` after.

The cookie is shown as text and never trusted; `web.templating.render` takes it and clears it.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

COOKIE = "ringback_flash"
_LONGEST = 600

Tone = Literal["ok", "warn", "bad"]


@dataclass(frozen=True, slots=True)
class Flash:
    tone: Tone
    text: str


def flash(response: Response, text: str, tone: Tone = "ok") -> None:
    packed = base64.urlsafe_b64encode(json.dumps([tone, text[:_LONGEST]]).encode()).decode()
    response.set_cookie(COOKIE, packed, max_age=60, httponly=True, samesite="lax", path="/")


def take(request: Request) -> Flash | None:
    """None when there is none or someone else wrote the cookie."""
    packed = request.cookies.get(COOKIE, "")
    try:
        tone, text = json.loads(base64.urlsafe_b64decode(packed)) if packed else (None, None)
    except (binascii.Error, ValueError, TypeError):
        return None
    if tone not in ("ok", "warn", "bad") or not isinstance(text, str):
        return None
    return Flash(tone, text)
