"""Who appears in the demo. All numbers and addresses are of ranges kept for fiction and documentation:
+1 210 555 0100-0199, UK and German drama numbers, 198.51.100.0/24, 203.0.113.0/24, 192.0.2.0/24.
"""

from __future__ import annotations

from dataclasses import dataclass

DOMAIN = "sip.acme.example"

_FIRST = (
    "John", "Jane", "Agnes", "Omar", "Priya", "Chen", "Lucía", "Tomasz", "Ingrid", "Samuel",
    "Aisha", "Viktor", "Mei", "Paulo", "Hannah", "Idris", "Noor", "Jerry", "Elena", "Kwame",
    "Sofia", "Liam", "Yuki", "Fatima", "Diego", "Greta", "Marcus", "Leila", "Oskar", "Ruth",
)  # fmt: skip
_LAST = (
    "Doe", "Ortiz", "Becker", "Haddad", "Raman", "Wei", "Alvarez", "Nowak", "Larsen", "Okafor",
    "Khan", "Petrov", "Lin", "Souza", "Weiss", "Diallo", "Rahman", "Price", "Rossi", "Mensah",
    "Costa", "Murphy", "Tanaka", "Zahra", "Romero", "Holm", "Reed", "Karimi", "Lindqvist", "Abbott",
)  # fmt: skip
_PHONES = (
    "Yealink SIP-T46S 66.86.0.15",
    "Grandstream GXP2170 1.0.11.64",
    "PolycomVVX-VVX_411-UA/6.4.0.9837",
    "snomD785/10.1.64.14",
    "Cisco-CP7841-3PCC/12.0.1",
    "Fanvil X4U 2.4.10",
    "LinphoneAndroid/5.2.5 (Pixel 8) LinphoneSDK/5.3.47",
    "Zoiper v2.10.19.3",
    "Bria 6 release 6.5.2 stamp 110223",
    "FRITZ!OS",
)


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One customer with one phone."""

    number: str  # E.164 without the plus sign; also user name for authentication
    name: str
    address: str
    phone: str  # User-Agent


def subscriber(index: int) -> Subscriber:
    """The `index`th of 100 subscribers (0-99), always the same one."""
    if not 0 <= index < 100:
        raise ValueError(f"there is no subscriber {index}: 0-99")
    name = f"{_FIRST[index % 30]} {_LAST[(index + index // 30 * 7) % 30]}"
    if index == 23:
        name = "Featherstonehaugh, Konstantinopoulos & Partners LLP (reception, 2nd floor)"
    return Subscriber(f"12105550{100 + index}", name, f"198.51.100.{21 + index}", _PHONES[index % len(_PHONES)])


def outside_number(index: int) -> str:
    """The `index`th of 360 numbers outside the provider's own, mostly domestic."""
    kind, serial = index % 6, index // 6 % 60
    if kind == 4:
        return f"4420794600{serial:02d}"
    if kind == 5:
        return f"493023125{100 + serial}"
    area = ("1312", "1415", "1617", "1202")[kind]
    return f"{area}55501{serial:02d}"
