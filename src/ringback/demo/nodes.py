"""The demo provider's nodes, as an operator would have named them in the register."""

from __future__ import annotations

from ringback.sessions.nodes.schemas import NodeForm

# The recording gives each gateway behaviour an address of its own: 60 for gw-east, 40 for gw-west.
NODES = (
    NodeForm("edge1", "edge", True, agents=("101",), addresses=("203.0.113.10",)),
    NodeForm("core1", "core", True, agents=("102",), addresses=("203.0.113.20",)),
    NodeForm("pbx1", "core", True, addresses=("203.0.113.30",)),
    NodeForm("gw-east", "gateway", addresses=tuple(f"192.0.2.{last}" for last in range(20, 80))),
    NodeForm("gw-west", "gateway", addresses=tuple(f"192.0.2.{last}" for last in range(80, 120))),
)
