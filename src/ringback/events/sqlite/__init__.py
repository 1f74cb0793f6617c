"""Event store engine: SQLite files, one per kind and UTC day."""

from ringback.events.sqlite.engine import SqliteEventStore

__all__ = ["SqliteEventStore"]
