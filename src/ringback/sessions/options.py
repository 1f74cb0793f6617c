"""Options of the trace: how long captures are kept, who may send them, how long share links live.

A HEP worker imports this: nothing here may load a database driver.
"""

from __future__ import annotations

from collections.abc import Iterator

from ringback.configuration.kinds import whole
from ringback.configuration.options import Harmless, Looking, Scope, option, touches
from ringback.configuration.sealed_list import SealedList

MAX_AGE = option(
    "Sessions.Max_Age",
    whole(1, 3650),
    default=30,
    unit="days",
    variable="RINGBACK_KEEP_SESSIONS_DAYS",
    help="How long captured sessions are kept. Whole days (UTC) that are older are deleted within the hour.",
)
SHARE_LINK_LIFE = option(
    "Sessions.Share_Link_Life",
    whole(1, 30),
    default=7,
    unit="days",
    scope=Scope.ENVIRONMENT,
    variable="RINGBACK_SHARE_DAYS",
    help="How long a new share link works unless whoever makes it says otherwise.",
)
HEP_KEYS = option(
    "Capture.HEP_Keys",
    SealedList(5, "key"),
    default=(),
    variable="RINGBACK_HEP_KEY",
    of_setting=lambda key: (key,) if key else (),
    help="Keys of which every HEP sender must give one (chunk 0x000e). To change a key, add the new one, give it to the"
    " senders, then drop the old one. Without a key anybody whose address is let in may send.",
)


@touches(SHARE_LINK_LIFE)
def _links(_looking: Looking, _old: int, _new: int) -> Iterator[str]:
    yield Harmless("Links that were made already keep their end.")


@touches(HEP_KEYS)
def _senders(_looking: Looking, old: tuple[str, ...], new: tuple[str, ...]) -> Iterator[str]:
    gone = sum(key not in new for key in old)
    if old and not new:
        yield "HEP is taken without a key, from every sender that RINGBACK_HEP_ALLOW lets in."
    elif new and not old:
        yield "Senders that give no key, or another one, are refused: every packet of theirs is lost and counted."
    elif gone:
        keys = "a key that goes" if gone == 1 else f"one of the {gone} keys that go"
        yield f"Senders that still give {keys} are refused: every packet of theirs is lost and counted."
