from __future__ import annotations

import pytest
from ledgers import Days


@pytest.fixture
def days(monkeypatch: pytest.MonkeyPatch) -> Days:
    return Days(monkeypatch)
