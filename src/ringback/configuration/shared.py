"""Options that several rooms obey."""

from __future__ import annotations

from ringback.configuration.kinds import whole
from ringback.configuration.options import option

LOG_MAX_AGE = option(
    "Tasks.Log_Max_Age",
    whole(30, 3650),
    default=180,
    unit="days",
    help="How long log lines and audit records are kept. What is older is deleted within the hour, here and in the copies"
    " that are searched.",
)
