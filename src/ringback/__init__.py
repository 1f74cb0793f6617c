"""Ringback tells a communications provider's staff why."""

__version__ = "0.1.0"
