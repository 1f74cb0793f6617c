"""Which rate the database finds for a number, beside a naive way to find it."""

from __future__ import annotations

import random
from datetime import timedelta

from engine_asked import Asking, Books

from ringback import clock

RATES, NUMBERS = 25, 60
SEED = 7


def test_the_longest_prefix_wins_and_of_one_the_last_that_is_effective(books: Books, node: Asking) -> None:
    some, now = random.Random(SEED), clock.now()
    held: dict[str, tuple[int, int]] = {}  # by prefix: days from now that it holds since, its id
    taken: set[tuple[str, int]] = set()
    while len(taken) < RATES:
        prefix, days = "".join(some.choices("24", k=some.randrange(1, 6))), some.randrange(-3, 4)
        if (prefix, days) in taken:
            continue
        taken.add((prefix, days))
        since = (now + timedelta(days=days, minutes=5)).isoformat()
        rate = books.rate(prefix, "Somewhere", "0.01", "0.01", 60, 60, since=since)
        if days < 0 and days > held.get(prefix, (-4, 0))[0]:
            held[prefix] = (days, rate)
    found = set()
    for _ in range(NUMBERS):
        number = "".join(some.choices("24", k=some.randrange(1, 8)))
        fitting = [prefix for prefix in held if number.startswith(prefix)]
        naive = held[max(fitting, key=len)][1] if fitting else None
        answer = node.authorize(called=number)
        assert (answer["rate"] and answer["rate"]["i_rate"]) == naive, (SEED, number)
        assert answer["reason"] == ("" if naive else "destination-not-in-tariff")
        found.add(naive)
    assert len(found) > 5
    assert None in found
