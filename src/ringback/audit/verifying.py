"""A verification that was asked for on the page: a process of its own, so that no page waits for it, and how far it is
stands in the records, where any web server finds it."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
import time
from datetime import timedelta
from typing import IO, cast

from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from ringback import clock
from ringback.audit import writer
from ringback.audit.keys import AuditKeyUnavailable, known_keys
from ringback.audit.models import AuditVerification
from ringback.audit.retention import LOG
from ringback.audit.verification import Verified, verify
from ringback.changes.schemas import Actor, Owner
from ringback.changes.service import changing, note
from ringback.records import secrets
from ringback.records.engine import open_engine, unit_of_work
from ringback.settings import Settings

VERIFIED = "audit.verified"
SILENT = timedelta(seconds=60)  # after which a run is taken for dead
_TELL_S = 1.0


class IsRunning(Exception):
    """One at a time is enough."""


def is_running(run: AuditVerification) -> bool:
    return run.finished_at is None and clock.now() - run.updated_at < SILENT


def latest(session: Session, environment: str) -> AuditVerification | None:
    asked = select(AuditVerification).where(AuditVerification.environment == environment)
    return session.scalars(asked.order_by(AuditVerification.id.desc()).limit(1)).one_or_none()


def start(engine: Engine, settings: Settings, environment: str, actor: Actor) -> int:
    """Raises IsRunning, OSError."""
    with unit_of_work(engine, (environment,)) as work:
        work.lock("audit_verifications", environment)
        last = latest(work, environment)
        if last is not None and is_running(last):
            raise IsRunning
        now = clock.now()
        run = AuditVerification(
            environment=environment, started_at=now, started_by=actor.name, updated_at=now, finished_at=None, checked=0,
            total=0, anchors=0, unknown_anchors=0, wrong="", seq=None, record_id=None, text="",
        )  # fmt: skip
        work.add(run)
        work.flush()
        run_id = run.id
    command = [sys.executable, "-m", "ringback.audit.verifying"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603 -- ourselves
    with cast("IO[bytes]", process.stdin) as stdin:
        pickle.dump((settings, environment, run_id, actor), stdin)
    threading.Thread(target=process.wait, daemon=True).start()  # so that none is left over
    return run_id


def run_verification(engine: Engine, settings: Settings, environment: str, run_id: int, actor: Actor) -> None:
    """Tells the records how far it is, and what it found."""
    told = 0.0

    def tell(_: str, checked: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told > _TELL_S:
            told = time.monotonic()
            _update(engine, environment, run_id, checked=checked, total=total)

    try:
        result = verify(engine, environment, known_keys([settings.audit_key_file]), progress=tell)
    except (AuditKeyUnavailable, SQLAlchemyError) as error:
        text = str(getattr(error, "orig", None) or error)
        _update(engine, environment, run_id, text=f"It could not be verified: {text}", wrong="unknown", finished=True)
        return
    finding = result.finding
    _update(
        engine, environment, run_id, checked=result.checked, total=result.checked, anchors=result.anchors,
        unknown_anchors=result.unknown_anchors, wrong=finding.wrong.value if finding else "",
        seq=finding.seq if finding else None, record_id=finding.id if finding else None,
        text=finding.text if finding else "", finished=True,
    )  # fmt: skip
    _note(engine, environment, actor, result)


def _note(engine: Engine, environment: str, actor: Actor, result: Verified) -> None:
    finding = result.finding
    with changing(engine, actor, (environment,)) as work:
        note(
            work, VERIFIED, LOG, environment, environment, Owner(environment),
            arguments={"count": result.checked}
            | ({"how": "broken", "seq": finding.seq, "wrong": finding.wrong.value} if finding else {}),
        )  # fmt: skip


def _update(engine: Engine, environment: str, run_id: int, *, finished: bool = False, **values: object) -> None:
    with unit_of_work(engine, (environment,)) as work:
        run = work.get_one(AuditVerification, run_id)
        for name, value in values.items():
            setattr(run, name, value)
        run.updated_at = clock.now()
        if finished:
            run.finished_at = run.updated_at


def main() -> None:
    settings, environment, run_id, actor = pickle.load(sys.stdin.buffer)  # noqa: S301 -- from our parent
    writer.connect()
    secrets.ring.use(settings.secrets_key_file)
    engine = open_engine(settings.records_url)
    try:
        run_verification(engine, settings, environment, run_id, actor)
    finally:
        engine.dispose()


if __name__ == "__main__":
    main()
