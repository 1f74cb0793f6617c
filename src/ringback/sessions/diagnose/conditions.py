"""When an operator's own issue holds: a table of conditions on the facts of a session, all of which must hold.

[when]
code = [503]
reason_cause = [34]
phrase_matches = "no channel"
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args

from ringback.sessions.diagnose.facts import Ending, Facts
from ringback.sessions.diagnose.facts.reasons import q850_cause, words_of
from ringback.sessions.diagnose.finding import Finding, evidence
from ringback.sessions.diagnose.telling import ending_values, refusal_evidence, who
from ringback.sessions.diagnose.wording import status
from ringback.sessions.story import Arrow, Kind, Outcome

MAX_PATTERN = 500


class ConditionError(ValueError):
    """A condition that cannot be read: its key and the reason."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key}: {reason}")
        self.key = key
        self.reason = reason


Test = Callable[[Facts, Ending], bool]


@dataclass(frozen=True, slots=True)
class Condition:
    """Read from TOML by `read_condition`."""

    tests: tuple[Test, ...]
    words: str  # for the guide: "code is 503; Q.850 cause is 34"

    def holds(self, facts: Facts, ending: Ending) -> bool:
        return all(test(facts, ending) for test in self.tests)

    def find(self, issue: str, facts: Facts, ending: Ending) -> Finding | None:
        if not self.holds(facts, ending):
            return None
        shown = refusal_evidence(facts, ending, ending.refusal) if ending.refusal else ()
        if not shown:
            first = ending.leg.deciding.request if ending.leg.deciding else None
            shown = evidence((first, "the request"), (ending.told, status(ending.told) if ending.told else ""))
        return Finding(issue, shown, ending_values(facts, ending))


def read_condition(table: Mapping[str, object]) -> Condition:
    """Raises ConditionError for an unknown key, a wrong type, a bad pattern, or a table without conditions."""
    if not table:
        raise ConditionError("when", "needs at least one condition")
    tests, words = [], []
    for key, value in table.items():
        reader = _READERS.get(key)
        if reader is None:
            raise ConditionError(f"when.{key}", f"is no condition; there are {', '.join(sorted(_READERS))}")
        test, said = reader(key, value)
        tests.append(test)
        words.append(said)
    return Condition(tuple(tests), "; ".join(words))


def _code(key: str, value: object) -> tuple[Test, str]:
    codes = _numbers(key, value, 100, 699)
    return (
        lambda facts, ending: ending.refusal is not None and ending.refusal.code in codes,
        f"the final code is {_or(codes)}",
    )


def _reason_cause(key: str, value: object) -> tuple[Test, str]:
    causes = _numbers(key, value, 0, 127)
    return lambda facts, ending: _cause(ending) in causes, f"the Q.850 cause is {_or(causes)}"


def _cause(ending: Ending) -> int | None:
    """Of the refusal, or of the BYE that ended the call."""
    if ending.leg.dialog:
        return q850_cause(ending.leg.dialog.bye_reasons)
    return q850_cause(ending.refusal.reasons) if ending.refusal else None


def _phrase(key: str, value: object) -> tuple[Test, str]:
    pattern = _pattern(key, value)

    def test(facts: Facts, ending: Ending) -> bool:
        closing = _closing(ending)
        return closing is not None and pattern.search(words_of(closing)) is not None

    return test, f"phrase, Reason or Warning matches `{pattern.pattern}`"


def _header(key: str, value: object) -> tuple[Test, str]:
    if (
        not isinstance(value, dict)
        or not {"name", "matches"} <= value.keys()
        or value.keys() - {"name", "matches", "in"}
    ):
        raise ConditionError(
            f"when.{key}", 'must be a table like { name = "X-Refused", matches = "quota", in = "response" }'
        )
    name, where = value["name"], value.get("in", "response")
    if not isinstance(name, str) or where not in ("request", "response"):
        raise ConditionError(f"when.{key}", 'name must be text and in "request" or "response"')
    pattern = _pattern(f"{key}.matches", value["matches"])

    def test(facts: Facts, ending: Ending) -> bool:
        arrow = _closing(ending) if where == "response" else _request(ending)
        return arrow is not None and any(pattern.search(one) for one in arrow.sip.values(name.lower()))

    return test, f"the header {name} of the {where} matches `{pattern.pattern}`"


def _node(key: str, value: object) -> tuple[Test, str]:
    pattern = _pattern(key, value)

    def test(facts: Facts, ending: Ending) -> bool:
        closing = _closing(ending)
        return closing is not None and pattern.search(who(facts, closing.source)) is not None

    return test, f"the node that said it matches `{pattern.pattern}`"


def _user_agent(key: str, value: object) -> tuple[Test, str]:
    pattern = _pattern(key, value)

    def test(facts: Facts, ending: Ending) -> bool:
        return any(pattern.search(one.user_agent) for one in facts.session.participants)

    return test, f"a User-Agent or Server matches `{pattern.pattern}`"


def _caller(key: str, value: object) -> tuple[Test, str]:
    pattern = _pattern(key, value)
    return (
        lambda facts, ending: pattern.search(ending.leg.leg.caller) is not None,
        f"the caller matches `{pattern.pattern}`",
    )


def _called(key: str, value: object) -> tuple[Test, str]:
    pattern = _pattern(key, value)
    return (
        lambda facts, ending: pattern.search(ending.leg.leg.called) is not None,
        f"the called number matches `{pattern.pattern}`",
    )


def _method(key: str, value: object) -> tuple[Test, str]:
    methods = {one.upper() for one in _texts(key, value)}
    return lambda facts, ending: ending.leg.method in methods, f"the method is {_or(methods)}"


def _kind(key: str, value: object) -> tuple[Test, str]:
    kinds = _texts(key, value, get_args(Kind))
    return lambda facts, ending: ending.leg.leg.kind in kinds, f"the kind is {_or(kinds)}"


def _outcome(key: str, value: object) -> tuple[Test, str]:
    outcomes = _texts(key, value, get_args(Outcome))
    return lambda facts, ending: ending.leg.leg.outcome in outcomes, f"the outcome is {_or(outcomes)}"


def _rang(key: str, value: object) -> tuple[Test, str]:
    if not isinstance(value, bool):
        raise ConditionError(f"when.{key}", "must be true or false")
    return lambda facts, ending: (ending.ringing is not None) is value, "it rang" if value else "it did not ring"


def _longer(key: str, value: object) -> tuple[Test, str]:
    limit = _seconds(key, value)
    return (
        lambda facts, ending: (us := _duration(ending)) is not None and us > limit * 1e6,
        f"the call lasted more than {limit:g} s",
    )


def _shorter(key: str, value: object) -> tuple[Test, str]:
    limit = _seconds(key, value)
    return (
        lambda facts, ending: (us := _duration(ending)) is not None and us < limit * 1e6,
        f"the call lasted less than {limit:g} s",
    )


def _retransmissions(key: str, value: object) -> tuple[Test, str]:
    least = min(_numbers(key, value, 1, 1_000_000))
    return lambda facts, ending: facts.session.retransmission_count >= least, f"at least {least} retransmissions"


_READERS: Mapping[str, Callable[[str, object], tuple[Test, str]]] = {
    "code": _code,
    "reason_cause": _reason_cause,
    "phrase_matches": _phrase,
    "header": _header,
    "node_matches": _node,
    "user_agent_matches": _user_agent,
    "caller_matches": _caller,
    "called_matches": _called,
    "method": _method,
    "kind": _kind,
    "outcome": _outcome,
    "rang": _rang,
    "longer_than_s": _longer,
    "shorter_than_s": _shorter,
    "retransmissions_at_least": _retransmissions,
}


def _closing(ending: Ending) -> Arrow | None:
    """The message that ended it: the refusal at its origin, the BYE of an answered call, else the final response."""
    if ending.refusal and not ending.answered:
        return ending.refusal.arrow
    dialog = ending.leg.dialog
    if dialog and dialog.bye and dialog.bye.request:
        return dialog.bye.request
    return ending.told


def _request(ending: Ending) -> Arrow | None:
    return ending.leg.deciding.request if ending.leg.deciding else None


def _duration(ending: Ending) -> int | None:
    return ending.leg.dialog.duration_us if ending.leg.dialog else None


def _pattern(key: str, value: object) -> re.Pattern[str]:
    if not isinstance(value, str) or not value or len(value) > MAX_PATTERN:
        raise ConditionError(f"when.{key}", f"must be a regular expression of at most {MAX_PATTERN} characters")
    try:
        return re.compile(value, re.IGNORECASE)
    except re.error as error:
        raise ConditionError(f"when.{key}", f"is no regular expression: {error}") from error


def _numbers(key: str, value: object, least: int, most: int) -> frozenset[int]:
    given = value if isinstance(value, list) else [value]
    if not given or any(
        isinstance(one, bool) or not isinstance(one, int) or not least <= one <= most for one in given
    ):
        raise ConditionError(f"when.{key}", f"must be a number from {least} to {most}, or a list of them")
    return frozenset(given)


def _texts(key: str, value: object, known: tuple[str, ...] = ()) -> frozenset[str]:
    given = value if isinstance(value, list) else [value]
    if not given or any(not isinstance(one, str) or not one for one in given):
        raise ConditionError(f"when.{key}", "must be text, or a list of texts")
    unknown = [one for one in given if known and one not in known]
    if unknown:
        raise ConditionError(f"when.{key}", f"there is no {unknown[0]!r}; there are {', '.join(known)}")
    return frozenset(given)


def _seconds(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ConditionError(f"when.{key}", "must be a number of seconds above 0")
    return float(value)


def _or(values: frozenset[int] | frozenset[str] | set[str]) -> str:
    return " or ".join(sorted(map(str, values)))
