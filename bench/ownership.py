"""What rules of ownership cost the leg table, beside one rule for everything, which is what a single tenant has.

The table alone, in memory: decoding and storing come on top. Processor time, the fastest of five runs each, in turn.
BENCH_SCALE shrinks the traffic.
"""

from __future__ import annotations

import gc
import os
import time

from bench.traffic import START_US, traffic
from ringback.sessions.ingest.legs import LegTable
from ringback.sessions.ownership.rules import ONE_TENANT, Rule, TrafficRules
from ringback.sessions.story import Hop, SightingTuple

CALLS = int(8000 * float(os.environ.get("BENCH_SCALE", "1")))
BATCH = 65_536
RUNS = 5
TENANTS = 50


def run() -> None:
    sightings = taken()
    everything = Rule("everything", "", "default")
    networks = [Rule("address", f"10.{n // 250}.{n % 250}.0/24", f"t{n % TENANTS}") for n in range(500)]
    domains = [Rule("domain", f"t{n}.example.com", f"t{n % TENANTS}") for n in range(500)]
    accounts = [Rule("account", f"{90_000 + n}%", f"t{n % TENANTS}") for n in range(500)]
    lists = {
        "one for everything": ONE_TENANT,
        "500 networks": TrafficRules([*networks, everything]),
        "and 500 domains": TrafficRules([*networks, *domains, everything]),
        "and 500 prefixes": TrafficRules([*networks, *domains, *accounts, everything]),
    }
    seconds = dict.fromkeys(lists, float("inf"))
    gc.disable()
    for _ in range(RUNS):
        for name, owners in lists.items():
            seconds[name] = min(seconds[name], table_seconds(sightings, owners))
    gc.enable()
    base = seconds["one for everything"]
    print(f"{len(sightings):,} messages of {CALLS:,} calls")
    print(f"{'rules':20}{'µs a message':>14}{'µs more a call':>16}")
    for name, each in seconds.items():
        print(f"{name:20}{each / len(sightings) * 1e6:14.2f}{(each - base) / CALLS * 1e6:16.1f}")


def taken() -> list[SightingTuple]:
    hops: dict[tuple[object, ...], Hop] = {}
    found: list[SightingTuple] = []
    for message in traffic(CALLS, calls_per_second=500):
        way = (message.source, message.source_port, message.destination, message.destination_port, message.agent)
        hop = hops.get(way)
        if hop is None:
            hop = hops[way] = Hop(
                "udp", message.source, message.source_port, message.destination, message.destination_port,
                str(message.agent),
            )  # fmt: skip
        found.append((START_US + message.time_us, hop, message.payload, 0, ""))
    return found


def table_seconds(sightings: list[SightingTuple], owners: TrafficRules) -> float:
    table = LegTable(owners=owners)
    began = time.process_time()
    for at in range(0, len(sightings), BATCH):
        part = sightings[at : at + BATCH]
        table.add(part)
        for leg in table.take(part[-1][0]).legs:
            leg.pending = []
    return time.process_time() - began
