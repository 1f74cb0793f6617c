"""What is asked of everybody who signs in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """The application keeps one in `app.state.access_policy`; without it these defaults hold."""

    second_factor_required: bool = False  # of all who sign in with a password
    password_days: int | None = None  # after so many days a password has to be changed; None: never
