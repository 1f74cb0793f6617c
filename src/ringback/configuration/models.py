"""Tables of the configuration: what holds, the history that it is made of, and the draft of each scope.

`environment` is an environment, or INSTALLATION for what holds everywhere. Values are JSON; secrets in it are sealed.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from ringback.records.tables import Id, InEnvironment, Record


class ConfigurationApply(InEnvironment, Record):
    """An entry of the history. Ids grow in the order in which they were applied."""

    __tablename__ = "configuration_applies"

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    environment: Mapped[str] = mapped_column(String(64), index=True)
    applied_at: Mapped[datetime]
    applied_by: Mapped[str]
    realm: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(String(500))
    back_to: Mapped[int | None]  # the entry whose state it restored; 0: before the first


class ConfigurationChange(InEnvironment, Record):
    """One option that an apply changed. None: the default holds."""

    __tablename__ = "configuration_changes"

    apply_id: Mapped[int] = mapped_column(ForeignKey(ConfigurationApply.id), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    environment: Mapped[str] = mapped_column(String(64))
    old: Mapped[str | None] = mapped_column(Text)
    new: Mapped[str | None] = mapped_column(Text)
    old_told: Mapped[str] = mapped_column(Text)  # in words, as they were then
    new_told: Mapped[str] = mapped_column(Text)


class ConfigurationValue(InEnvironment, Record):
    """What holds, of options that are not at their default."""

    __tablename__ = "configuration_values"

    environment: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(Text)
    apply_id: Mapped[int] = mapped_column(ForeignKey(ConfigurationApply.id))


class ConfigurationDraft(InEnvironment, Record):
    """One for each scope, shared by all who may change it. It stays when it is empty, so that its version only grows."""

    __tablename__ = "configuration_drafts"

    environment: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[int]
    saved_at: Mapped[datetime]
    saved_by: Mapped[str]
    back_to: Mapped[int | None]
    verified: Mapped[str | None] = mapped_column(String(64))  # the verification that an apply must name
    verified_at: Mapped[datetime | None]
    verified_by: Mapped[str | None]


class ConfigurationDraftValue(InEnvironment, Record):
    """What one option would become, right or wrong. None: its default."""

    __tablename__ = "configuration_draft_values"

    environment: Mapped[str] = mapped_column(ForeignKey(ConfigurationDraft.environment), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str | None] = mapped_column(Text)
    saved_at: Mapped[datetime]
    saved_by: Mapped[str]


class ConfigurationSeen(Record):
    """Up to which entry of the history the process of a role has taken the values in."""

    __tablename__ = "configuration_seen"

    host: Mapped[str] = mapped_column(String(255), primary_key=True)
    role: Mapped[str] = mapped_column(String(16), primary_key=True)
    apply_id: Mapped[int]
    seen_at: Mapped[datetime]
