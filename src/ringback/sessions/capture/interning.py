"""Tables that give equal things one object, and that no sender can make grow without end."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedTable(dict[K, V]):
    """A dict that `remember` empties before it would hold more than `limit` entries.

    Hot paths read it as the plain dict it is. After it was emptied, equal values may be two objects: whoever
    keys on identity loses sharing, never correctness, if it keeps its own reference.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def remember(self, key: K, value: V) -> V:
        if len(self) >= self.limit:
            self.clear()
        self[key] = value
        return value
