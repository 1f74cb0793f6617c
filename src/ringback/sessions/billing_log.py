"""The billing log: what a line of kind "billing" says, and who says it to whom. Its fields are told in docs/billing-log.md.

A line is a step of the engine's answer to one session. Lines of other engines may lack most fields; what they say is read
from what they have. A line that names its engine stands under the node that asked, and so does one whose node is known to
send SIP; any other is the engine's own, and `asked_by` may name the node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from ringback import clock
from ringback.sessions.story import Entry, LogLine, Participant

KIND = "billing"
OWN_ENGINE = "ringback"  # whose lines tell everything: what is not among them did not happen
ENGINE = "Billing engine"  # the lane of an engine that gives no name

# What a node says to the engine, and what the engine says to the node. All other steps are the engine's own.
ASKED = frozenset({"request", "start", "interim", "stop"})
ANSWERED = frozenset({"decision", "xdr"})

_WORDS = {
    "request": "Request", "account": "Account", "status": "Status", "balance": "Balance", "product": "Product", "rate": "Rate",
    "limit": "Limit", "decision": "Decision", "start": "Start", "interim": "Interim", "stop": "Stop", "xdr": "xDR",
}  # fmt: skip
_ORDER = {step: place for place, step in enumerate(_WORDS)}
_MOST_SHOWN = 40  # characters of an engine's name, of a step or a reason that is not ours

Result = Literal["allowed", "refused", ""]


def step_of(line: LogLine) -> str:
    """The step that the line names; "decision" where it names none but tells a result; "" where nobody can say."""
    step = line.fields.get("step", "").strip().lower()
    return step or ("decision" if result_of(line) else "")


def place_of(line: LogLine) -> int:
    """Its place among lines of the same moment."""
    return _ORDER.get(step_of(line), len(_ORDER))


def step_words(line: LogLine) -> str:
    """`Decision`; a step that only another engine knows as it is written."""
    step = step_of(line)
    return _WORDS.get(step, step.replace("_", " ").capitalize()[:_MOST_SHOWN])


def result_of(line: LogLine) -> Result:
    """What was decided; an `h323_return_code` says it too, and so does a reason, which only refusals have."""
    result = line.fields.get("result", "").strip().lower()
    if result in ("allowed", "accepted", "accept", "allow", "success", "ok"):
        return "allowed"
    if result in ("refused", "rejected", "reject", "denied", "deny", "failed"):
        return "refused"
    if line.fields.get("step", "decision").strip().lower() != "decision":
        return ""
    code = line.fields.get("h323_return_code", "").strip()
    if code.isdecimal():
        return "refused" if int(code) else "allowed"
    return "refused" if line.fields.get("reason") or line.fields.get("error_name") else ""


def engine_name(line: LogLine) -> str:
    """What the engine's lane is called."""
    name = " ".join(line.fields.get("engine", "").split())
    return ENGINE if not name or name == OWN_ENGINE else name[:_MOST_SHOWN]


def short_words(line: LogLine) -> str:
    """For an arrow with little room: `may it begin?`, `refused: destination-forbidden`, `allowed, 2 h at most`, `xDR 2204`."""
    step, fields = step_of(line), line.fields
    match step:
        case "request":
            return "may it begin?"
        case "decision":
            result = result_of(line) or "answered"
            why = fields.get("reason", "") or fields.get("error_name", "")
            if why and result == "refused":
                return f"{result}: {why[:_MOST_SHOWN]}"
            seconds = round(_number(fields.get("max_seconds", "")) or 0)
            return (
                f"allowed, {clock.seconds_words(seconds)} at most" if result == "allowed" and seconds > 0 else result
            )
        case "xdr":
            return f"xDR {_first(fields, 'xdr', 'amount')}".rstrip()
        case "start":
            return "it was answered"
        case "stop":
            return "it has ended"
        case _:
            return step


def _first(fields: Mapping[str, str], *names: str) -> str:
    return next((fields[name][:_MOST_SHOWN] for name in names if fields.get(name)), "")


def seconds_of(line: LogLine) -> float | None:
    """How long the session lasted, as the engine knows it; None where the line does not say."""
    return _number(line.fields.get("seconds", ""))


def makes_xdr(line: LogLine) -> bool:
    """Of a line with the step xdr: our engine writes one too where it charges nothing."""
    return bool(line.fields.get("engine") != OWN_ENGINE or line.fields.get("xdr") or line.fields.get("amount"))


def charges(line: LogLine) -> bool:
    """Whether an xDR asks for time or money: those of zero tell that an attempt was seen."""
    figures = (_number(line.fields.get(name, "")) for name in ("amount", "charged_seconds", "seconds"))
    return any(figures)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < 1e12 else None


def by_name(participants: Iterable[Participant]) -> dict[str, Participant]:
    """Under every name that a log line may give: id, label, capture agent, address with and without its port."""
    found: dict[str, Participant] = {}
    for one in participants:
        for address in one.addresses:
            found.setdefault(address, one)
            found.setdefault(address.rpartition(":")[0].strip("[]"), one)
    for one in participants:
        found |= dict.fromkeys((*one.agents, one.label, one.id), one)
    return found


def engine_lane(line: LogLine, known: Mapping[str, Participant]) -> str:
    """The id of the engine's lane, be it there already or not."""
    writer = known.get(line.node)
    if writer is not None and writer.kind == "billing":
        return writer.id
    if line.node and writer is None and not line.fields.get("engine"):
        return line.node
    name = engine_name(line)
    taken = known.get(name)
    return name if taken is None or taken.kind == "billing" else f"{name} (billing)"


def ends_of(line: LogLine, known: Mapping[str, Participant]) -> tuple[str, str]:
    """(lane of the engine, lane of the node that asked it or "")."""
    engine = engine_lane(line, known)
    asker = known.get(line.fields.get("asked_by", "")) or known.get(line.node)
    return engine, asker.id if asker is not None and asker.id != engine else ""


def who(line: LogLine, known: Mapping[str, Participant]) -> str:
    """Who wrote the line, and for whom: `Billing engine, asked by edge1`."""
    engine, node = ends_of(line, known)
    labels = [known[one].label if one in known else one for one in (engine, node or line.node)]
    return labels[0] if labels[1] in ("", *labels[:1]) else f"{labels[0]}, asked by {labels[1]}"


def addressed(entry: Entry, known: Mapping[str, Participant]) -> Entry:
    """The entry of a billing line with who says it, and to whom."""
    if entry.log is None:
        return entry
    engine, node = ends_of(entry.log, known)
    step = step_of(entry.log)
    if node and step in ASKED:
        entry.source, entry.destination = node, engine
    else:
        entry.source, entry.destination = engine, node if step in ANSWERED else ""
    return entry
