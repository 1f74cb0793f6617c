"""Causes of ITU-T Q.850: why a call ended, as numbers that gateways send and xDRs keep."""

from __future__ import annotations

# Table 1, for those who send no text along.
MEANINGS = {
    1: "unallocated number", 2: "no route to the transit network", 3: "no route to the destination",
    16: "normal call clearing", 17: "user busy", 18: "no user responding", 19: "no answer from the user",
    20: "subscriber absent", 21: "call rejected", 22: "number changed", 23: "redirected to a new destination",
    25: "exchange routing error", 26: "non-selected user clearing", 27: "destination out of order",
    28: "invalid number format", 29: "facility rejected", 31: "normal, unspecified", 34: "no circuit or channel available",
    38: "network out of order", 41: "temporary failure", 42: "switching equipment congestion",
    44: "requested circuit or channel not available", 47: "resource unavailable", 50: "requested facility not subscribed",
    52: "outgoing calls barred", 53: "outgoing calls barred within the group", 54: "incoming calls barred",
    55: "incoming calls barred within the group", 57: "bearer capability not authorized",
    58: "bearer capability not presently available", 65: "bearer capability not implemented",
    69: "requested facility not implemented", 70: "only restricted digital information", 79: "service not implemented",
    87: "user not a member of the group", 88: "incompatible destination", 102: "recovery on timer expiry",
    111: "protocol error", 127: "interworking, unspecified",
}  # fmt: skip
