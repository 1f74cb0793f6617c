"""Calls and messages: captured, stored, found again, and explained."""
