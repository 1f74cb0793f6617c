"""Our own log tells of errors without telling secrets."""

from __future__ import annotations

import subprocess
import sys

FAILING = """
import structlog
from ringback.logs import configure_logs

configure_logs("json", "web")
try:
    bearer = "rb_" + "secret"
    raise ValueError("it failed")
except ValueError:
    structlog.get_logger().exception("request failed")
"""


def test_a_traceback_shows_no_values_of_local_variables() -> None:
    said = subprocess.run(
        [sys.executable, "-c", FAILING], capture_output=True, text=True, timeout=30, check=True
    ).stderr
    assert "it failed" in said
    assert "rb_secret" not in said
