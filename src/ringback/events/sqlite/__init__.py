"""Event store engine: SQLite files, one per kind and UTC day."""

from ringback.events.sqlite.engine import SqliteEventStore
from ringback.events.sqlite.repair import RepairReport, repair

__all__ = ["RepairReport", "SqliteEventStore", "repair"]
