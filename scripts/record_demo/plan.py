"""Where the nodes of a chain stand: a name and an address each, and nothing that touches a network."""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Addresses of one chain: edge1, core1, the PBX, carrier gateways and phones, all on port 5060."""

    edge: str
    core: str
    pbx: str
    gateways: str  # "192.0.2.": the n-th gateway stands at .(20 + n)
    phones: str  # "198.51.100."
    first_phone: int

    def gateway(self, index: int) -> str:
        return f"{self.gateways}{20 + index}"

    def phone(self, index: int) -> str:
        return f"{self.phones}{self.first_phone + index}"

    def everywhere(self) -> list[str]:
        """Every address that may be used."""
        return [
            self.edge,
            self.core,
            self.pbx,
            *(self.gateway(index) for index in range(100)),
            *(self.phone(index) for index in range(100)),
        ]


DOCUMENTATION = Plan(
    edge="203.0.113.10",
    core="203.0.113.20",
    pbx="203.0.113.30",
    gateways="192.0.2.",
    phones="198.51.100.",
    first_phone=21,
)
"""For a network namespace of its own, so that pictures show addresses as a provider has them."""


def loopback() -> Plan:
    """A block of 127.0.0.0/8 that nobody uses now: chains may run beside each other.

    Raises OSError when no free block was found.
    """
    for _ in range(50):
        block = f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(250) + 1}."
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((block + "10", 5060))
            except OSError:
                continue
        return Plan(block + "10", block + "11", block + "12", block, block, 121)
    raise OSError("no free block of loopback addresses for SIP on port 5060")
