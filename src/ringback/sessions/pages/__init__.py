"""The pages of the sessions room. `router` holds them all."""

from fastapi import APIRouter

from ringback.sessions.pages import capture, guide, nodes, search, session, sharing, upload

router = APIRouter()
for part in (search, sharing, session, nodes, capture, upload, guide):
    router.include_router(part.router)
