"""Import of accounts from CSV, with and without change capture and audit log, in the same run.

The same file, checked and written row by row as people's imports are; in turn, each into a fresh database; the fastest
of RUNS each. BENCH_SCALE shrinks the file; BENCH_POSTGRES=URL of an empty database uses that instead of SQLite files.
"""

from __future__ import annotations

import gc
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, event, func, select

from ringback.audit import writer
from ringback.audit.models import AuditRecord
from ringback.billing.entities.many import Import, Report
from ringback.billing.entities.models import TYPES
from ringback.billing.entities.service import create
from ringback.billing.entities.tables import read_csv
from ringback.changes import tracked
from ringback.changes.schemas import Actor
from ringback.changes.service import changing
from ringback.records import secrets
from ringback.records.engine import UnitOfWork, open_engine, reading
from ringback.records.schema import migrate, migrate_down
from ringback.records.wall import EVERYWHERE

SCALE = float(os.environ.get("BENCH_SCALE", "1"))
ROWS = int(100_000 * SCALE)
FEW = ROWS // 10
RUNS = int(os.environ.get("BENCH_RUNS", "2"))
MOST_RATIO, MOST_GROWTH = 1.25, 1.15
ACTOR = Actor("user", "bench", "api")
CUSTOMERS = 100


def run() -> None:
    with tempfile.TemporaryDirectory(prefix="ringback-bench-") as folder:
        secrets.ring.use(Path(folder, "secrets.key"))
        writer.connect()
        many, few = make(Path(folder, "many.csv"), ROWS), make(Path(folder, "few.csv"), FEW)
        full, bare, small = [], [], []
        for _ in range(RUNS):
            full.append(imported(folder, many, ROWS, captured=True))
            bare.append(imported(folder, many, ROWS, captured=False))
            small.append(imported(folder, few, FEW, captured=True))
    fast, plain, tenth = min(full), min(bare), min(small)
    print(
        f"{ROWS:,} accounts, {os.cpu_count()} cores, {'PostgreSQL' if os.environ.get('BENCH_POSTGRES') else 'SQLite'}"
    )
    print(f"{'':34}{'s':>8}{'µs a row':>10}{'rows/s':>10}")
    for name, seconds, rows in (
        ("with change capture and audit", fast, ROWS),
        ("without", plain, ROWS),
        (f"with, {FEW:,} rows", tenth, FEW),
    ):
        print(f"{name:34}{seconds:8.2f}{seconds / rows * 1e6:10.0f}{rows / seconds:10,.0f}")
    growth = (fast / ROWS) / (tenth / FEW)
    print(f"  with / without {fast / plain:.2f} (target {MOST_RATIO}); a row among {ROWS:,} costs {growth:.2f} of one "
          f"among {FEW:,} (linear: {MOST_GROWTH} at most)")  # fmt: skip


def make(path: Path, rows: int) -> Path:
    with path.open("w") as file:
        file.write("id,customer,product,billing_model,role,credit_limit,activation_date,service_password\r\n")
        for number in range(rows):
            who = number * CUSTOMERS // rows
            file.write(
                f"1210{number:08},Customer {who},Standard,credit,phone line,25.50,2026-01-01,pw-{number:08}\r\n"
            )
    return path


def imported(folder: str, path: Path, rows: int, *, captured: bool) -> float:
    """Seconds."""
    with _records(folder) as engine, _capture(on=captured):
        with changing(engine, ACTOR, ("default",)) as work:
            for number in range(CUSTOMERS):
                create(work, TYPES["customer"], "default", {"name": f"Customer {number}", "currency": "USD"})
            create(work, TYPES["product"], "default", {"name": "Standard", "currency": "USD"})
        kind = TYPES["account"]
        one = Import(engine, ACTOR, "default", kind, "", True, read_csv(kind, path), path.name)
        report = Report(dry_run=False)
        gc.collect()
        began = time.perf_counter()
        for _ in one.outcomes(report, all_or_nothing=False):
            pass
        seconds = time.perf_counter() - began
        assert report.counts == {"created": rows}, report
        with reading(engine, EVERYWHERE) as session:
            of_accounts = select(func.count()).where(
                AuditRecord.entity_type == "account", AuditRecord.action == "created"
            )
            recorded = session.scalar(of_accounts)
            assert recorded == (rows if captured else 0), recorded
    return seconds


@contextmanager
def _records(folder: str) -> Iterator[Engine]:
    url = os.environ.get("BENCH_POSTGRES") or f"sqlite:///{folder}/records.sqlite"
    engine = open_engine(url)
    migrate(engine)
    try:
        yield engine
    finally:
        if engine.dialect.name == "postgresql":
            migrate_down(engine, "base")
        engine.dispose()
        for left in Path(folder).glob("records.sqlite*"):
            left.unlink()


@contextmanager
def _capture(*, on: bool) -> Iterator[None]:
    listeners = [("before_flush", tracked._see_changes), ("after_flush", tracked._see_new)]
    for name, listener in [] if on else listeners:
        event.remove(UnitOfWork, name, listener)
    try:
        yield
    finally:
        for name, listener in [] if on else listeners:
            event.listen(UnitOfWork, name, listener)
