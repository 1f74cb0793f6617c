from pathlib import Path

import pytest
from settled import Room, room
from sqlalchemy import Engine

from ringback.audit.writer import connect
from ringback.records.secrets import ring


@pytest.fixture(autouse=True)
def _doors(tmp_path: Path) -> None:
    """What a door does before it uses the records."""
    connect()
    ring.use(tmp_path / "secrets.key")


@pytest.fixture
def here(engine: Engine, tmp_path: Path) -> Room:
    return room(engine, tmp_path)
