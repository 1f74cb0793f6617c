"""A register of options of the tests' own, and a service on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from ringback.changes.schemas import Actor
from ringback.configuration.kinds import Json, choice, flag, text, whole
from ringback.configuration.options import Looking, Option, Registry, Scope
from ringback.configuration.reader import Current
from ringback.configuration.schemas import Entry, Verification
from ringback.configuration.sealed_list import SealedList
from ringback.configuration.service import ConfigurationService
from ringback.records.tables import INSTALLATION
from ringback.settings import Settings, load_settings

ANN = Actor("user", "ann", "console", id="1", address="192.0.2.1")
BOB = Actor("user", "bob", "console", id="2", address="192.0.2.2")


@dataclass(frozen=True)
class Known:
    registry: Registry
    age: Option[int]
    words: Option[str]
    strict: Option[bool]
    life: Option[int]  # each environment may have its own
    note: Option[str]
    keys: Option[tuple[str, ...]]


def known() -> Known:
    registry = Registry()
    option = registry.option
    age = option("Tasks.Age", whole(30, 3650), default=180, unit="days", help="How long things are kept here.")
    words = option("Access.Words", choice("few", "many"), default="few", help="How many words are spoken here.")
    strict = option("Access.Strict", flag(), default=False, help="Whether it is strict about everything.")
    life = option(
        "Sessions.Life",
        whole(1, 30),
        default=7,
        unit="days",
        scope=Scope.ENVIRONMENT,
        variable="RINGBACK_SHARE_DAYS",
        help="How long it lives unless told otherwise.",
    )
    note = option(
        "Sessions.Note", text(20, "[a-z ]+", "lower-case words"), default="none", help="What stands below the list."
    )
    keys = option(
        "Capture.Keys",
        SealedList(3, "key"),
        default=(),
        variable="RINGBACK_HEP_KEY",
        of_setting=lambda key: (key,) if key else (),
        help="The keys that let somebody in here.",
    )

    @registry.touches(age)
    def goes(looking: Looking, old: int, new: int) -> Iterator[str]:
        if new < old:
            yield f"What is older than {new} days will go ({looking.environment})."

    return Known(registry, age, words, strict, life, note, keys)


@dataclass(frozen=True)
class Room:
    """The service on one database, and a reader of it."""

    known: Known
    engine: Engine
    settings: Settings
    service: ConfigurationService
    current: Current

    def applied(
        self, given: dict[str, Json], scope: str = INSTALLATION, reason: str = "as agreed", actor: Actor = ANN
    ) -> Entry:
        """All three steps."""
        self.service.save(actor, scope, given, None)
        verification = self.verified(scope, actor)
        return self.service.apply(actor, scope, verification.token, reason)

    def verified(self, scope: str = INSTALLATION, actor: Actor = ANN) -> Verification:
        verification = self.service.verify(actor, scope)
        assert verification.ok, verification
        return verification


def room(engine: Engine, folder: Path, **environ: str) -> Room:
    options = known()
    settings = load_settings(environ, data=folder)
    service = ConfigurationService(engine, settings, options.registry)
    return Room(options, engine, settings, service, Current(settings, engine))
