"""What a scenario is made of while it is written: who takes part, which legs, which routes."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from ringback.demo.cast import DOMAIN, outside_number, subscriber
from scripts.record_demo.dialogue import Party, Side
from scripts.record_demo.nodes import Route
from scripts.record_demo.pbx import Forward, Mark
from scripts.record_demo.plan import Plan

WEST = 60  # gateways 0-59 are gw-east's addresses, 60-99 gw-west's
_CARRIER = {"east": "Sonus SBC 5400 V09.02", "west": "OracleE-SBC/8.4"}


@dataclass(slots=True)
class Counters:
    """Shared by all scenarios of a run: each number, subscriber and gateway address is used by one scenario only."""

    subscriber: int = 0
    outside: int = 0
    gateways: dict[str, int] = field(default_factory=lambda: {"east": 0, "west": WEST})


@dataclass(slots=True)
class Stage:
    plan: Plan
    taken: Counters
    sides: list[Side] = field(default_factory=list)
    routes: dict[str, Route] = field(default_factory=dict)
    forwards: dict[str, Forward] = field(default_factory=dict)
    subscribers: list[int] = field(default_factory=list)
    called: list[str] = field(default_factory=list)  # numbers outside the provider's own

    def phone(self, *, told_address: str = "") -> Party:
        """The next subscriber's phone."""
        index = self.taken.subscriber
        self.taken.subscriber += 1
        self.subscribers.append(index)
        who = subscriber(index)
        return Party(who.number, self.plan.phone(index), who.phone, who.name, told_address)

    def second_phone(self, of: Party) -> Party:
        """Another device of the same subscriber."""
        other = self.phone()
        return Party(of.number, other.address, other.software, of.name)

    def carrier(
        self, number: str = "", *, via: Literal["east", "west"] = "east", backup: Party | None = None
    ) -> Party:
        """A number outside, behind a gateway of its own; `backup` is the gateway to try when this one fails."""
        if not number:
            number = outside_number(self.taken.outside)
            self.taken.outside += 1
        address = self.plan.gateway(self.taken.gateways[via])
        self.taken.gateways[via] += 1
        self.called.append(number)
        self.routes[number] = Route(address, backup.address if backup else "")
        return Party(number, address, _CARRIER[via])

    def backup(self) -> Party:
        """gw-west as the second choice; give it the number with `same_number`."""
        address = self.plan.gateway(self.taken.gateways["west"])
        self.taken.gateways["west"] += 1
        return Party("", address, _CARRIER["west"])

    def pbx(self, target: Party, mark: Mark) -> Party:
        """A subscriber's number that the PBX forwards to `target`."""
        me = self.phone()
        self.routes[me.number] = Route(self.plan.pbx)
        self.forwards[me.number] = Forward(target.number, mark)
        return Party(me.number, self.plan.pbx, "")

    def leg(
        self,
        caller: Party,
        called: Party,
        *,
        after_s: float = 0.6,
        called_after_s: float = 0.0,
        transport: Literal["UDP", "TCP"] = "UDP",
        peer_cseq: int = 2,
    ) -> tuple[Side, Side]:
        """Both ends of a call; write their steps."""
        calling = self.alone(caller, called, after_s=after_s)
        calling.transport = transport
        answering = self.elsewhere(called, caller, after_s=called_after_s, peer_cseq=peer_cseq)
        answering.seed = calling.seed
        return calling, answering

    def alone(self, caller: Party, called: Party, *, after_s: float = 0.6) -> Side:
        """The calling end only: a proxy answers, or nobody does."""
        side = Side(caller, called, True, secrets.token_hex(5), f"{secrets.token_hex(8)}@{caller.host}", after_s)
        self.sides.append(side)
        return side

    def elsewhere(self, called: Party, caller: Party, *, after_s: float = 0.0, peer_cseq: int = 2) -> Side:
        """A called end that no calling end was written for: a second gateway, a forked phone, the end of a second leg."""
        side = Side(called, caller, False, secrets.token_hex(5), "", after_s, peer_cseq=peer_cseq)
        self.sides.append(side)
        return side

    def registration(self, phone: Party, *, expires: int = 600, after_s: float = 0.0, succeeds: bool = True) -> Side:
        """REGISTER, challenge, REGISTER with credentials; up to the 200 when it succeeds."""
        side = self.alone(phone, phone, after_s=after_s)
        register(side, expires)
        side.expect(401, challenge=True)
        if succeeds:
            register(side, expires, credentials=True)
            side.expect(200)
        return side


def register(side: Side, expires: int, *, credentials: bool = False) -> None:
    side.request("REGISTER", headers=(f"Expires: {expires}",), uri=f"sip:{DOMAIN}", credentials=credentials)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing that happens to a caller. `write` puts its legs on the stage."""

    id: str
    tells: str
    write: Callable[[Stage], None]
