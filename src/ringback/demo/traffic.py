"""What the demo's provider carries: two hours of history, and the present."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Mapping
from itertools import count

from ringback.demo.copies import Original, Timed, again
from ringback.demo.mix import MIX, TALKS

HISTORY_S = 2 * 3600
_APART_S = 3.0  # mean time between the starts of live sessions
_FIRSTS_S = 3600  # the recording itself, with the numbers that docs/demo.md names, lies in the last hour


def history(originals: Mapping[str, Original], now_us: int, seed: int = 1) -> list[Timed]:
    """Everything of the two hours before `now_us`, in order of time. Nothing lies after `now_us`."""
    dice = random.Random(seed)
    timed: list[Timed] = []
    for name, copies in MIX.items():
        original = originals[name]
        for number in range(copies):
            talk_s = _talk_s(name, dice, most=600.0)
            lasts_s = original.seconds + talk_s + 1
            back_s = dice.uniform(lasts_s, (_FIRSTS_S if number == 0 else HISTORY_S) + lasts_s)
            start_us = now_us - round(back_s * 1e6)
            timed += again(original, start_us, talk_s=talk_s, dice=dice if number else None)
    return sorted(timed, key=lambda each: each.time_us)


def live(originals: Mapping[str, Original], start_us: int, seed: int = 2) -> Iterator[Timed]:
    """The present without an end, in order of time: a new session every three seconds."""
    dice = random.Random(seed)
    names, weights = list(MIX), list(MIX.values())
    tie = count()
    ahead: list[tuple[int, int, Timed]] = []
    next_us = start_us
    while True:
        while not ahead or ahead[0][0] >= next_us:
            name = dice.choices(names, weights)[0]
            for each in again(originals[name], next_us, talk_s=_talk_s(name, dice, most=90.0), dice=dice):
                heapq.heappush(ahead, (each.time_us, next(tie), each))
            next_us += round(dice.expovariate(1 / _APART_S) * 1e6)
        yield heapq.heappop(ahead)[2]


def _talk_s(name: str, dice: random.Random, most: float) -> float:
    """Seconds to talk longer than the recording: telephone calls are short, with a long tail."""
    return min(most, dice.lognormvariate(4.0, 1.0)) if name in TALKS else 0.0
