"""The demo: recorded traffic of a small provider, replayed as if it happened in the last two hours."""
