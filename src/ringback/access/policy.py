"""What is asked of everybody who signs in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """`app.state.access_policy` tells the one that holds now; without it these defaults do."""

    second_factor_required: bool = False  # of all who sign in with a password
    password_days: int | None = None  # after so many days a password has to be changed; None: never
