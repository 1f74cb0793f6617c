"""Captures that come over HTTP: received to disk, imported by a process of their own."""
