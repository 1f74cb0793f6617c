"""The base of every table: names of constraints, the column types, and the environment that every record carries."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from sqlalchemy import BigInteger, Dialect, Integer, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from ringback import clock
from ringback.records.environments import (
    DEFAULT_ENVIRONMENT,
    INSTALLATION,
    RESERVED_ENVIRONMENTS,
    UNASSIGNED,
)

__all__ = [
    "DEFAULT_ENVIRONMENT", "INSTALLATION", "RESERVED_ENVIRONMENTS", "UNASSIGNED", "Id", "InEnvironment",
    "Record", "UtcTime",
]  # fmt: skip

Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only what is spelled INTEGER


class UtcTime(TypeDecorator[datetime]):
    """Stored as integer microseconds since the epoch, an aware UTC datetime in code. A naive one is a ValueError."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else clock.to_us(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else clock.from_us(value)


class Record(DeclarativeBase):
    """Constraints are named by rule, so that a migration can name them on any database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {datetime: UtcTime, int: BigInteger, str: String(255)}


class InEnvironment:
    """A mixin: the tenant a record belongs to. What no session sees that was not opened for it (`wall`)."""

    environment: Mapped[str] = mapped_column(String(64))
