"""What goes in and out of the rules of ownership."""

from __future__ import annotations

from dataclasses import dataclass

from ringback.sessions.ownership.rules import Rule


@dataclass(frozen=True, slots=True)
class RuleForm:
    """A rule as a person or program gives it, not checked yet."""

    kind: str
    value: str = ""
    environment: str = ""


@dataclass(frozen=True, slots=True)
class RuleInfo:
    """A rule of the list. `stale`: the node that it names sends from other ids and addresses by now."""

    id: int
    rule: Rule
    stale: bool = False


@dataclass(frozen=True, slots=True)
class RuleList:
    """In order, and a word that stands for exactly this list: a change names the list that it was made for."""

    version: str
    rules: tuple[RuleInfo, ...]


class RulesChanged(Exception):
    """The list is not the one that the change was made for."""

    def __init__(self) -> None:
        super().__init__("The rules were changed meanwhile. Look at them as they are now, and repeat.")


class RuleNotFound(LookupError):
    """No rule of that id."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a tester is told of a message or line, as typed."""

    node: str = ""
    source: str = ""
    destination: str = ""
    request_uri: str = ""
    sender: str = ""  # From
    recipient: str = ""  # To
    auth_user: str = ""
    account: str = ""
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which rule decides (its place in the list, from 1; None: none does), and the environment."""

    place: int | None
    rule: Rule | None
    environment: str
