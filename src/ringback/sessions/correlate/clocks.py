"""How far the clocks of the capture agents are apart, and what to add to each one's stamps.

Two agents that saw the same messages in both directions of a hop tell their difference as in NTP: the delay of the
network adds to the one direction and takes from the other. Agents that share no message are held together by causality:
a forwarded request cannot be older than the one it came from, nor a forwarded response.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from statistics import median_low

NOISE_US = 1_000  # stamps of one host wander by a quarter of this; below it messages are only put in order
_ONE_WAY_US = 250_000  # a difference seen in one direction only may be the network's up to here

# (agent of the first sighting, agent of the second, direction, second stamp - first stamp)
Delta = tuple[str, str, bool, int]
# (agent that saw the cause, agent that saw the effect, stamp of the effect - stamp of the cause)
Wait = tuple[str, str, int]


class Clocks:
    """Clocks that are known to each other form a group; every group is corrected to the clock most of it agrees on."""

    def __init__(self, agents: Iterable[str]) -> None:
        self._group = {agent: agent for agent in agents}
        self._ahead = dict.fromkeys(self._group, 0)  # of the group's own zero

    def add_pairs(self, deltas: Iterable[Delta]) -> None:
        """Messages that two agents both saw."""
        samples: dict[tuple[str, str], tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for first, second, direction, delta in deltas:
            if first <= second:
                samples[first, second][direction].append(delta)
            else:
                samples[second, first][direction].append(-delta)
        for (first, second), directions in sorted(
            samples.items(), key=lambda item: (-sum(map(len, item[1])), item[0])
        ):
            medians = sorted(median_low(sorted(deltas)) for deltas in directions if deltas)
            if abs(medians[0]) <= _ONE_WAY_US and _some_near_zero(directions):
                self._join(first, second, 0)
            elif len(medians) == 2 or abs(medians[0]) > _ONE_WAY_US:
                self._join(first, second, _outside_zero(medians[0], medians[-1]))

    def add_waits(self, waits: Sequence[Wait]) -> None:
        """Causes and effects that different agents saw, for those whose clocks are not yet known to each other."""
        at_most: dict[tuple[str, str], int] = {}
        count: Counter[tuple[str, str]] = Counter()
        for cause, effect, wait in waits:
            one, other = self._group[cause], self._group[effect]
            if one != other:
                true_wait = wait - self._ahead[effect] + self._ahead[cause]
                at_most[one, other] = min(true_wait, at_most.get((one, other), true_wait))
                count[min(one, other), max(one, other)] += 1
        for (one, other), _ in sorted(count.items(), key=lambda item: (-item[1], item[0])):
            self._join(one, other, _within(at_most.get((one, other)), at_most.get((other, one))))

    def corrections(self) -> dict[str, int]:
        """Agent -> microseconds to add to its stamps; 0 for those that are right.

        Where as many agents say the one as the other, nothing tells who is right: then always the first by name is,
        so that the same node is not blamed in one session and cleared in the next.
        """
        groups: dict[str, list[str]] = defaultdict(list)
        for agent in self._group:
            groups[self._group[agent]].append(agent)
        corrections = {}
        for agents in groups.values():
            reference = min(agents, key=lambda agent: (-self._support(agent, agents), len(agent), agent))
            for agent in agents:
                ahead = self._ahead[agent] - self._ahead[reference]
                corrections[agent] = -ahead if abs(ahead) > NOISE_US else 0
        return corrections

    def _support(self, agent: str, agents: list[str]) -> int:
        """How many agents agree with this one."""
        return sum(abs(self._ahead[one] - self._ahead[agent]) <= NOISE_US for one in agents)

    def _join(self, first: str, second: str, ahead: int) -> None:
        """The clock of `second` is `ahead` of that of `first`. Names of groups are names of agents in them."""
        one, other = self._group[first], self._group[second]
        if one == other:
            return
        shift = self._ahead[first] + ahead - self._ahead[second]
        for agent, group in self._group.items():
            if group == other:
                self._group[agent] = one
                self._ahead[agent] += shift


def _some_near_zero(directions: Iterable[Sequence[int]]) -> bool:
    """Stamps that agree both ways: the clocks are together, and whatever differs was stamped late by a busy node."""
    return all(any(abs(delta) <= NOISE_US for delta in deltas) for deltas in directions)


def _outside_zero(lowest: int, highest: int) -> int:
    """The middle of the interval, 0 when no difference at all would explain it as well."""
    return 0 if lowest - NOISE_US <= 0 <= highest + NOISE_US else (lowest + highest) // 2


def _within(highest: int | None, back: int | None) -> int:
    """How far ahead a clock is that is at most `highest` ahead and at most `back` behind. None: not known."""
    if back is None:
        return highest if highest is not None and highest < -NOISE_US else 0
    lowest = -back
    if highest is None:
        return lowest if lowest > NOISE_US else 0
    if lowest <= highest or (lowest > 0) == (highest > 0):
        return _outside_zero(min(lowest, highest), max(lowest, highest))
    return 0  # they contradict each other: a first transmission is missing somewhere
