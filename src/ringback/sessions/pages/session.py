"""The session page and its parts, the same for who is signed in and for who holds a share link."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from ringback import clock
from ringback.access.dependencies import CurrentVisitor, Records, may
from ringback.access.permissions import Permission
from ringback.access.schemas import Principal
from ringback.problem import Problem
from ringback.records.engine import unit_of_work
from ringback.sessions.classic import billing_lines
from ringback.sessions.dependencies import Sessions
from ringback.sessions.diagram.svg import advanced_svg, basic_svg
from ringback.sessions.pages import comparison, mending, message_view, story_view
from ringback.sessions.pages.words import KIND_WORDS, confidence_words, issue_word, outcome_word
from ringback.sessions.schemas import OpenedSession
from ringback.sessions.share.schemas import ShareInfo, Viewer
from ringback.sessions.share.service import SHARE_PATH, how_seen, list_views, open_share, record_view
from ringback.sessions.story import Arrow
from ringback.web.templating import render, viewer_zone

router = APIRouter(include_in_schema=False)
Format = Literal["pcap", "text", "json", "svg", "classic"]
PAGE_STAYS_OPEN = timedelta(hours=8)  # a shift: parts that are asked for meanwhile belong to it


@dataclass(frozen=True, slots=True)
class Opened:
    """A session opened for somebody who may see it."""

    opened: OpenedSession
    base: str  # path of its page for this reader
    viewer: Viewer
    reader: Principal | None = None  # who is signed in
    share: ShareInfo | None = None  # the link that was followed


def _by_login(
    session_id: str,
    reader: Annotated[Principal, may(Permission.SESSIONS_READ)],
    visitor: CurrentVisitor,
    sessions: Sessions,
) -> Opened:
    customers = reader.may(Permission.CUSTOMERS_READ)
    opened = sessions.open(session_id, reader.environments, personal=reader.sees_personal, customers=customers)
    return Opened(opened, f"/sessions/{opened.id}", Viewer(reader.kind, reader.name, visitor.address), reader)


def _export_by_login(
    reader: Annotated[Principal, may(Permission.SESSIONS_EXPORT)], it: Annotated[Opened, Depends(_by_login)]
) -> Opened:
    return it


def _by_share_link(token: str, records: Records, visitor: CurrentVisitor, sessions: Sessions) -> Opened:
    share = open_share(records, token)
    opened = sessions.open(share.session_id, (share.environment,), personal=share.personal)
    viewer = Viewer("share", share.created_by, visitor.address, share.id)
    return Opened(opened, f"{SHARE_PATH}{token}", viewer, share=share)


def _add_routes(prefix: str, opened_by: Callable[..., Opened], exported_by: Callable[..., Opened]) -> None:
    """The dependencies are defaults, because the annotations of nested functions cannot name `opened_by`."""
    opened: Any = Depends(opened_by)
    exported: Any = Depends(exported_by)

    @router.get(prefix)
    def session_page(
        request: Request,
        records: Records,
        view: Literal["basic", "nodes", "classic"] = "basic",
        kind: str = "",
        node: str = "",
        all_: Annotated[bool, Query(alias="all")] = False,
        it: Opened = opened,
    ) -> Response:
        _record(records, it, "page") if _whole(request) else _record_part(records, it)
        return _page(request, it, view, kind, node, all_)

    @router.get(prefix + "/messages/{number}")
    def message(request: Request, records: Records, number: int, it: Opened = opened) -> Response:
        _record_part(records, it)
        return render(
            request,
            "sessions/message_page.html" if _whole(request) else "sessions/message.html",
            **_message_context(it, number),
        )

    @router.get(prefix + "/compare")
    def compare(
        request: Request, records: Records, m: Annotated[list[int] | None, Query()] = None, it: Opened = opened
    ) -> Response:
        chosen = sorted(set(m or ()))
        if len(chosen) != 2:
            raise Problem(400, "Choose two messages of the timeline to compare them.", field="m")
        left, right = (_arrow(it.opened, number) for number in chosen)
        pairs = comparison.compare(left, right)
        _record_part(records, it)
        return render(
            request,
            "sessions/compare_page.html" if _whole(request) else "sessions/compare.html",
            it=it,
            left=left,
            right=right,
            pairs=pairs,
            differences=comparison.differences(pairs),
            start_line=story_view.start_line,
            here=f"{it.base}/compare?" + urlencode([("m", number) for number in chosen]),
        )

    @router.get(prefix + "/export")
    def export(
        records: Records,
        sessions: Sessions,
        format_: Annotated[Format, Query(alias="format")] = "pcap",
        it: Opened = exported,
    ) -> Response:
        _record(records, it, f"export {format_}")
        file = sessions.export(it.opened, format_)
        named = {"Content-Disposition": f'attachment; filename="{file.filename}"'}
        return Response(file.data, media_type=file.media_type, headers=named)


_add_routes("/sessions/{session_id}", _by_login, _export_by_login)
_add_routes(SHARE_PATH + "{token}", _by_share_link, _by_share_link)


def _record(records: Records, it: Opened, how: str) -> None:
    with unit_of_work(records, (it.opened.session.environment,)) as work:
        record_view(work, it.opened.session.environment, it.opened.id, it.viewer, how_seen(how, it.opened))


def _record_part(records: Records, it: Opened) -> None:
    """A part of a page is no view of its own, but it is one where the page itself was not opened before."""
    lately = clock.now() - PAGE_STAYS_OPEN
    for view in list_views(records, (it.opened.session.environment,), it.opened.id):
        if view.viewed_at > lately and view.viewer == it.viewer and view.masked == it.opened.masked:
            return
    _record(records, it, "part")


def _whole(request: Request) -> bool:
    """Whether a page is asked for, and not a part of one that is open."""
    return "hx-request" not in request.headers


def _page(request: Request, it: Opened, view: str, kind: str, node: str, all_: bool) -> Response:
    opened, session = it.opened, it.opened.session
    primary = opened.issues[0] if opened.issues else None
    state = {"view": view if view != "basic" else "", "kind": kind, "node": node, "all": "1" if all_ else ""}

    def url(**changes: str) -> str:
        """This page in another state."""
        parameters = urlencode({name: text for name, text in {**state, **changes}.items() if text})
        return it.base + (f"?{parameters}" if parameters else "")

    return render(
        request,
        "sessions/session.html",
        it=it,
        session=session,
        outcome=outcome_word(session.outcome),
        kind_word=KIND_WORDS.get(session.kind, session.kind),
        primary=primary,
        other_issues=opened.issues[1:],
        issue_word=issue_word,
        confidence_words=confidence_words,
        steps_by_role=story_view.steps_by_role,
        mending=lambda issue: mending.links(issue, session, it.reader),
        charges=mending.charges(opened, it.reader),
        unnamed=story_view.unnamed_answer(session),
        diagram=_drawn(opened, view),
        billing_log=billing_lines(session, viewer_zone(request)) if view == "classic" else "",
        view=view,
        whole=len(session.entries) <= story_view.FOLD_ABOVE,
        timeline=story_view.timeline(opened, kind, node, unfolded=all_),
        chosen_kind=kind,
        chosen_node=node,
        url=url,
        facts=story_view.facts(opened),
        stream_troubles=story_view.stream_troubles,
        outcome_word=outcome_word,
        expires_us=clock.to_us(it.share.expires_at) if it.share else 0,
    )


def _drawn(opened: OpenedSession, view: str) -> str:
    match view:
        case "basic":
            drawn = basic_svg(opened.session, opened.issues)
            return drawn + basic_svg(opened.session, opened.issues, narrow=True)
        case "nodes":
            return advanced_svg(opened.session, opened.issues)
        case _:
            return ""


def _message_context(it: Opened, number: int) -> dict[str, Any]:
    entry = next((entry for entry in it.opened.session.entries if entry.number == number), None)
    if entry is None:
        raise Problem(404, f"This session has no entry #{number}; it has {len(it.opened.session.entries)}.")
    labels = {participant.id: participant.label for participant in it.opened.session.participants}
    return {
        "it": it,
        "entry": entry,
        "arrow": entry.arrow,
        "log": entry.log,
        "message": message_view.message_text(entry.arrow) if entry.arrow else None,
        "labels": labels,
        "charge": mending.charges(it.opened, it.reader).lines.get(number),
    }


def _arrow(opened: OpenedSession, number: int) -> Arrow:
    try:
        return opened.session.arrow(number)
    except KeyError:
        raise Problem(404, f"Entry #{number} is no SIP message of this session.", field="m") from None
