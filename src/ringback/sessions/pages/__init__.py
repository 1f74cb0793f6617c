"""The pages of the sessions room. `router` holds them all."""

from fastapi import APIRouter

from ringback.sessions.pages import capture, guide, of_entity, search, session, sharing, unknown_senders, upload

router = APIRouter()
for part in (search, sharing, session, of_entity, unknown_senders, capture, upload, guide):
    router.include_router(part.router)
