"""The configuration that the documentation shows is the one that the tests run."""

from __future__ import annotations

import re
from pathlib import Path

from scripts.record_demo.nodes import CONFIGURATION, Collector

DOCUMENT = Path(__file__).parents[2] / "docs" / "sending-traffic.md"
BLOCKS = re.findall(r"```kamailio\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


def test_the_first_kamailio_block_is_hep_cfg() -> None:
    assert BLOCKS[0] == (CONFIGURATION / "hep.cfg").read_text(encoding="utf-8")


def test_the_lines_for_tcp_and_a_key_are_those_that_the_chain_is_given() -> None:
    here = Collector("127.0.0.1", 9060, tcp=True, key="the key of RINGBACK_HEP_KEY").settings
    assert BLOCKS[1].rstrip("\n") in here.values()
