"""Options of the billing engine."""

from __future__ import annotations

from ringback.configuration.kinds import whole
from ringback.configuration.options import Scope, option

LONGEST_CALL = option(
    "Engine.Longest_Call",
    whole(60, 604_800),
    default=14_400,
    unit="s",
    scope=Scope.ENVIRONMENT,
    help="How long a call may last at most, whatever the funds. A call whose end no node tells is closed after it.",
)
LONGEST_RINGING = option(
    "Engine.Longest_Ringing",
    whole(10, 3600),
    default=300,
    unit="s",
    scope=Scope.ENVIRONMENT,
    help="How long a call that was allowed and not answered yet counts as one of the account's calls at once.",
)
SILENCE = option(
    "Engine.Silence",
    whole(60, 86_400),
    default=900,
    unit="s",
    scope=Scope.ENVIRONMENT,
    help="After how long without a word a call that a node told of now and then (interim accounting) is closed, and"
    " charged for what was told. Of a call without such words the end is waited for as long as it may last.",
)
SIMULTANEOUS_CALLS = option(
    "Engine.Simultaneous_Calls",
    whole(0, 100_000),
    default=0,
    unit="calls",
    scope=Scope.ENVIRONMENT,
    help="How many calls at once an account may have where neither it nor its product says; 0: as many as it likes.",
)
OPTIONS = (LONGEST_CALL, LONGEST_RINGING, SILENCE, SIMULTANEOUS_CALLS)
