"""The pages of the sessions room. `router` holds them all."""

from fastapi import APIRouter

from ringback.sessions.pages import capture, guide, search, session, sharing, unknown_senders, upload

router = APIRouter()
for part in (search, sharing, session, unknown_senders, capture, upload, guide):
    router.include_router(part.router)
