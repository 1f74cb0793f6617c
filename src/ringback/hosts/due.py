"""Work that is done now and then by one host, however many look after it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ringback import clock
from ringback.hosts.service import run_due
from ringback.records.engine import RecordsUnavailable, open_engine
from ringback.settings import Settings

_log = structlog.get_logger()


class Due:
    """`do` gets the records, takes at most `at_most`, and may raise what `fails` names: it is told in the log once, as what
    `failed` says, and tried again. The lease is what hosts agree by."""

    def __init__(
        self, settings: Settings, lease: str, do: Callable[[Engine], object], *, every: timedelta, at_most: timedelta,
        failed: str, fails: tuple[type[Exception], ...] = (),
    ) -> None:  # fmt: skip
        self._settings, self._lease, self._do = settings, lease, do
        self._every, self._at_most = every, at_most
        self._failed = failed
        self._fails: tuple[type[Exception], ...] = (*fails, RecordsUnavailable)
        self._holder = f"{settings.host_name} {clock.random_token(8)}"
        self._problem = ""

    def run_if_due(self) -> bool:
        """Whether this host did it; asked now and then by each."""
        problem, done = "", False
        try:
            engine = open_engine(self._settings.records_url)
            try:
                done = run_due(
                    engine,
                    self._lease,
                    self._holder,
                    lambda: self._do(engine),
                    every=self._every,
                    at_most=self._at_most,
                )
            finally:
                engine.dispose()
        except self._fails as error:
            problem = str(error)
        except SQLAlchemyError as error:
            problem = f"the records: {getattr(error, 'orig', None) or error}"
        if problem and problem != self._problem:
            _log.error(self._failed, error=problem)
        self._problem = problem
        return done
