"""Receives captures to disk and has them imported by a process of its own, one at a time.

The import takes a core for as long as it lasts: inside the web process it would slow every page.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import orjson
import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request

from ringback.problem import Problem
from ringback.sessions.uploads.documents import ImportDocument
from ringback.settings import Settings

MOST_FILES = 50  # of one upload
_FORM = "multipart/form-data"

_log = structlog.get_logger()


class Uploads:
    """One for the application; uploads wait for each other."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = upload_folder(settings)
        self._one_at_a_time = asyncio.Semaphore(1)

    def clear(self) -> None:
        """Remove what an earlier process left behind."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)

    async def take(self, request: Request, environment: str, choices: Collection[str] = ()) -> ImportDocument:
        """Import what the request brings: the files of a form, or its body. The caller has asked who it is.

        It belongs to `environment`, "" where the rules say; a form's field of that name may choose another of `choices`.
        Raises Problem: no file (400), not one could be read, or no such choice (422), no space (507), the import broke
        (500).
        """
        try:
            async with self._received(request) as (names, chosen):
                if not names:
                    raise Problem(400, "Send a capture: a form with files, or the capture as the body.", field="file")
                if chosen is not None and chosen not in choices:
                    raise Problem(422, f"You do not belong to an environment {chosen!r}.", field="environment")
                async with self._one_at_a_time:
                    document = await self._import(list(names), environment if chosen is None else chosen)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise Problem(507, f"No space is left in {self._folder} for the upload. Make room and repeat.") from error
        for file in document["files"]:
            file["name"] = names[file["name"]]
        if all(file["status"] == "failed" for file in document["files"]):
            reasons = "; ".join(f"{file['name']}: {file['problem']}" for file in document["files"])
            raise Problem(422, reasons, title="No capture could be read", field="file")
        return document

    @asynccontextmanager
    async def _received(self, request: Request) -> AsyncIterator[tuple[dict[str, str], str | None]]:
        """Name on disk -> name that the sender gave, and the environment that was chosen. The files are removed
        afterwards."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            if request.headers.get("content-type", "").startswith(_FORM):
                yield await self._from_form(request, folder)
            else:
                yield await self._from_body(request, folder), None
        finally:
            await run_in_threadpool(shutil.rmtree, folder, ignore_errors=True)

    async def _from_form(self, request: Request, folder: Path) -> tuple[dict[str, str], str | None]:
        names: dict[str, str] = {}
        form = await request.form(max_files=MOST_FILES)
        for _, value in form.multi_items():
            if isinstance(value, UploadFile) and (value.filename or value.size):
                path = folder / f"{len(names)}.capture"
                await run_in_threadpool(_copy, value.file, path)
                names[str(path)] = value.filename or "capture"
        chosen = form.get("environment")
        return names, chosen if isinstance(chosen, str) else None

    async def _from_body(self, request: Request, folder: Path) -> dict[str, str]:
        path = folder / "0.capture"
        size = 0
        with path.open("wb") as file:
            async for chunk in request.stream():
                size += len(chunk)
                await run_in_threadpool(file.write, chunk)
        return {str(path): "capture"} if size else {}

    async def _import(self, paths: list[str], environment: str) -> ImportDocument:
        settings = self._settings
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "ringback.cli", "import", "--json", "--environment", environment, *paths),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ
            | {
                "RINGBACK_DATA": str(settings.data),
                "RINGBACK_EVENTS_URL": settings.events_url,
                "RINGBACK_DATABASE_URL": settings.database_url,
            },
        )
        try:
            output, errors = await process.communicate()
        except asyncio.CancelledError:
            process.kill()  # the server stops; the same upload goes on where this one stood
            raise
        try:
            document: ImportDocument = orjson.loads(output)
        except orjson.JSONDecodeError:
            reason = errors.decode(errors="replace").strip()
            _log.error("an import broke", exit_code=process.returncode, reason=reason)
            last = reason.splitlines()[-1].removeprefix("ringback: ") if reason else f"exit {process.returncode}"
            raise Problem(500, f"The import broke: {last}") from None
        return document


def upload_folder(settings: Settings) -> Path:
    """On the disk of the data, where there is room for a capture, not in a /tmp that may be memory."""
    return settings.run_folder / "uploads"


def _copy(source: IO[bytes], path: Path) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
