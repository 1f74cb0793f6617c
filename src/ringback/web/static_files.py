"""The files under static/: served below a path that holds their fingerprint, so that a browser may keep them for good."""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parent / "static"
MOUNT = "/static"


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


VERSION = _fingerprint(FOLDER)


def static_path(name: str) -> str:
    """URL path of a file under static/: modules that import each other by relative paths stay inside one version."""
    return f"{MOUNT}/{VERSION}/{name}"


class VersionedFiles(StaticFiles):
    """Mounted at `MOUNT`. The first path segment is the version; a stale one gets today's file and is not kept."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    async def get_response(self, path: str, scope: Scope) -> Response:
        version, _, name = Path(path).as_posix().partition("/")
        response = await super().get_response(name, scope)
        kept = "public, max-age=31536000, immutable" if version == VERSION else "no-cache"
        response.headers["Cache-Control"] = kept
        return response
