"""One committed change, one fact: who changed what, from what to what, and what led to it."""
