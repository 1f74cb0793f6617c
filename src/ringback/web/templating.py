"""Pages from templates: one Jinja2 environment with escaping always on, and `render`.

Template names: ``base.html`` and the like live here; ``sessions/...`` and ``access/...`` in the templates/ folder of
that room. What every page knows about its reader comes from `request.state` (`viewer_name`, `viewer_permissions`,
`viewer_environment`, `viewer_environments`, `csrf_token`; set by the access room) and from two cookies that the browser
sets (`zone`, an IANA name, and `theme`).
"""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, PrefixLoader, StrictUndefined
from jinja2.loaders import ChoiceLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse

from ringback import clock
from ringback.web import flash, formats, navigation
from ringback.web.static_files import static_path

ZONE_COOKIE = "zone"
THEME_COOKIE = "theme"
CSRF_FIELD = "csrf_token"  # of forms; requests made by scripts send the header X-CSRF-Token

_HERE = Path(__file__).parent
_ROOMS = ("sessions", "access", "audit", "billing", "configuration", "timeline")


@cache
def environment() -> Environment:
    env = Environment(
        loader=ChoiceLoader(
            [
                FileSystemLoader(_HERE / "templates"),
                PrefixLoader({room: FileSystemLoader(_HERE.parent / room / "templates") for room in _ROOMS}),
            ]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters["duration"] = formats.duration
    env.filters["number"] = formats.number
    env.filters["size"] = formats.size
    env.filters["exact_utc"] = clock.isoformat
    env.globals["static"] = static_path
    env.globals["plural"] = formats.plural
    env.globals["csrf_field"] = CSRF_FIELD
    return env


def viewer_zone(request: Request) -> ZoneInfo:
    """From the cookie that the browser set; UTC until then."""
    return formats.zone(request.cookies.get(ZONE_COOKIE, "").replace("%2F", "/") or "UTC")


def page_context(request: Request) -> dict[str, Any]:
    """What every template may use besides its own context."""
    tz = viewer_zone(request)
    now_us = clock.now_us()
    theme = request.cookies.get(THEME_COOKIE, "")
    permissions: frozenset[str] = getattr(request.state, "viewer_permissions", frozenset())
    menus = navigation.menus_for(permissions)
    menu_here, link_here = navigation.place(menus, request.url.path)
    return {
        "request": request,
        "viewer_name": getattr(request.state, "viewer_name", ""),
        "viewer_environment": getattr(request.state, "viewer_environment", ""),
        "viewer_environments": getattr(request.state, "viewer_environments", ()),
        "may": permissions.__contains__,
        "menus": menus,
        "menu_here": menu_here,
        "link_here": link_here,
        "csrf_token": getattr(request.state, "csrf_token", ""),
        "theme": theme if theme in ("light", "dark") else "",
        "flashed": flash.take(request),
        "now_us": now_us,
        "zone_of": lambda us: formats.zone_name(us, tz),
        "time": partial(_time_tag, tz),
        "exact": partial(_exact, tz),
        "ago": lambda us: formats.ago(us, now_us),
    }


def fragment(request: Request, name: str, **context: Any) -> str:
    """A template as text, e.g. a part of a page that a script asked for."""
    return environment().get_template(name).render(**page_context(request), **context)


def render(request: Request, name: str, status_code: int = 200, **context: Any) -> HTMLResponse:
    """A page as a response; a flashed message is shown once."""
    response = HTMLResponse(fragment(request, name, **context), status_code=status_code)
    if flash.COOKIE in request.cookies:
        response.delete_cookie(flash.COOKIE, path="/")
    return response


def _time_tag(tz: ZoneInfo, us: int, style: str = "full") -> str:
    return formats.time_tag(us, tz, style)


def _exact(tz: ZoneInfo, us: int) -> str:
    return formats.exact(us, tz)
