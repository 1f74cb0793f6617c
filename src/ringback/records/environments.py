"""Keys of environments that the code itself names. Importing them costs nothing, which processes without records need."""

from __future__ import annotations

DEFAULT_ENVIRONMENT = "default"
UNASSIGNED = "unassigned"  # traffic that no rule gives to an environment
INSTALLATION = "installation"  # what is of no environment: people, rules of traffic, options for all
RESERVED_ENVIRONMENTS = frozenset({UNASSIGNED, INSTALLATION})
