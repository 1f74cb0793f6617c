"""Anchors: where each chain ended on a day, signed. Who rewrites a chain afterwards would have to sign them anew."""

from __future__ import annotations

from datetime import timedelta

import structlog
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from ringback import clock
from ringback.audit.keys import AuditKeys, AuditKeyUnavailable, signing_keys
from ringback.audit.models import AuditAnchor, AuditChain
from ringback.hosts.service import run_due
from ringback.records.engine import RecordsUnavailable, UnitOfWork, do_in_unit_of_work, open_engine
from ringback.records.wall import EVERYWHERE
from ringback.settings import Settings

EVERY = timedelta(days=1)
_LEASE = "audit anchors"
_AT_MOST = timedelta(minutes=5)

_log = structlog.get_logger()


class Anchoring:
    """Once a day for all chains, by one host; `run_if_due` is called now and then by each."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._holder = f"{settings.host_name} {clock.random_token(8)}"
        self._problem = ""

    def run_if_due(self) -> bool:
        """Whether this host did it. What fails is logged once, and tried again."""
        problem, done = "", False
        try:
            keys = signing_keys(self._settings.audit_key_file)
            engine = open_engine(self._settings.records_url)
            try:
                done = run_due(
                    engine, _LEASE, self._holder, lambda: add_anchors(engine, keys), every=EVERY, at_most=_AT_MOST
                )
            finally:
                engine.dispose()
        except (AuditKeyUnavailable, RecordsUnavailable) as error:
            problem = str(error)
        except SQLAlchemyError as error:
            problem = f"the records: {getattr(error, 'orig', None) or error}"
        if problem and problem != self._problem:
            _log.error("the audit log was not anchored", error=problem)
        self._problem = problem
        return done


def add_anchors(engine: Engine, keys: AuditKeys) -> list[AuditAnchor]:
    """One for each chain that grew since its last. Each is logged too, so that its hash is outside the database."""
    added = do_in_unit_of_work(engine, lambda work: _add(work, keys), EVERYWHERE)
    for anchor in added:
        _log.info(
            "audit log anchored", environment=anchor.environment, seq=anchor.seq, hash=anchor.hash.hex(),
            at=clock.isoformat(clock.to_us(anchor.at)), key=anchor.key_id, signature=anchor.signature.hex(),
        )  # fmt: skip
    return added


def _add(work: UnitOfWork, keys: AuditKeys) -> list[AuditAnchor]:
    newest = select(AuditAnchor.environment, func.max(AuditAnchor.seq)).group_by(AuditAnchor.environment)
    latest = {environment: seq for environment, seq in work.execute(newest)}  # noqa: C416
    added = []
    for chain in work.scalars(select(AuditChain).order_by(AuditChain.environment)):
        if chain.seq > latest.get(chain.environment, 0):
            at = clock.now_us()
            added.append(
                AuditAnchor(
                    environment=chain.environment,
                    at=clock.from_us(at),
                    seq=chain.seq,
                    hash=chain.hash,
                    key_id=keys.id,
                    signature=keys.sign(chain.environment, chain.seq, chain.hash, at),
                )
            )
    work.add_all(added)
    return added
