"""Everything that is played. What Ringback must make of each is in tests/nodes/truth.py.

The order is that of the recording, and gives every scenario its subscribers and numbers. A new one goes to the very end, or
the numbers in docs/demo.md change.
"""

from scripts.record_demo.scenarios import slow, answered, failed, no_calls  # noqa: I001 -- in this order
from scripts.record_demo.scenarios.registry import SCENARIOS

__all__ = ["SCENARIOS", "answered", "failed", "no_calls", "slow"]
