"""What the billing engine refused, did not answer, or charged otherwise than the call was. Read from its log lines.

A node passes a refusal on as a 403 or whatever it is set to, so the engine's reason beats the code. Its clock need not be
the nodes': a decision may be stamped a little later than the answer that it led to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ringback.sessions import billing_log
from ringback.sessions.diagnose.billing_reasons import OTHER
from ringback.sessions.diagnose.facts import Ending, Facts
from ringback.sessions.diagnose.facts.attempts import CHALLENGES
from ringback.sessions.diagnose.facts.billing import Asking
from ringback.sessions.diagnose.facts.dialogs import Dialog
from ringback.sessions.diagnose.facts.legs import LegFacts, Refusal
from ringback.sessions.diagnose.facts.reasons import GENERIC_CODES
from ringback.sessions.diagnose.finding import EndingRecogniser, Finding, in_order, remarks, tells_ending
from ringback.sessions.diagnose.telling import ending_values, refusal_evidence, shared_values, who
from ringback.sessions.diagnose.wording import duration, wire_text
from ringback.sessions.story import Entry, Evidence

CLOCKS_US = 2_000_000  # clocks of the engine and of the nodes may be so far apart
UNTOLD_US = 60_000_000  # after a hang-up: by then an xDR is made
APART_S = 5.0  # seconds that a call and its xDR may differ by, and
APART_SHARE = 0.02  # of its length: set-up, hang-up and rounding
_CODES_OF_REFUSALS = GENERIC_CODES | CHALLENGES | {402, 488, 606}

_ENGINE = r"\b(billing|aaa|radius|rating|charging|ocs)\b"
_UNANSWERED = re.compile(
    rf"{_ENGINE}.{{0,80}}?(no (answer|reply|response)|not (answer|reply|respond|reachable)|unreachable|unavailable"
    r"|timed?[ -]?out|connection (refused|reset|failed)|is down|failed to connect|cannot (connect|reach))"
    r"|(no (answer|reply|response)|timed?[ -]?out|cannot (connect to|reach)|failed to (connect to|reach)|connection refused)"
    rf".{{0,40}}?{_ENGINE}"
)


def _refused(issue: str, *steps: str) -> EndingRecogniser:
    """A recogniser of one reason. `steps`: the line that shows it best besides the decision."""

    @tells_ending(issue, "account", "asker", "product", "rate", "tariff")
    def find(facts: Facts, ending: Ending) -> Finding | None:
        asking = _refusal(facts, ending)
        return _finding(facts, ending, asking, issue, steps) if asking and asking.reason == issue else None

    return find


def _refusal(facts: Facts, ending: Ending) -> Asking | None:
    """The engine's refusal that the final response passes on: the last it decided before, to the node that answered."""
    refusal = ending.refusal
    if refusal is None or ending.answered:
        return None
    legs = {"", ending.leg.leg.call_id, ending.cause.leg.call_id}
    since, until = refusal.attempt.began_us - CLOCKS_US, refusal.arrow.time_us + CLOCKS_US
    decided = [
        one
        for one in facts.billing.askings
        if one.decision
        and one.call_id in legs
        and since <= one.decision.time_us <= until
        and _passes_on(one, refusal)
    ]
    return decided[-1] if decided and decided[-1].reason else None


def _passes_on(asking: Asking, refusal: Refusal) -> bool:
    if asking.asker:
        return asking.asker == refusal.arrow.source
    return refusal.code in _CODES_OF_REFUSALS


def _finding(facts: Facts, ending: Ending, asking: Asking, issue: str, steps: tuple[str, ...]) -> Finding:
    return Finding(
        issue,
        _evidence(facts, ending, asking, asking.line(*steps)),
        ending_values(facts, ending) | _values(facts, asking),
        1.0 if asking.asker else 0.9,
        mend=asking.mend,
    )


def _evidence(facts: Facts, ending: Ending, asking: Asking, telling: Entry | None) -> tuple[Evidence, ...]:
    """The SIP messages of the refusal, and the lines of the log that say why."""
    shown = [
        Evidence(entry.number, why)
        for entry, why in (
            (asking.request, "billing was asked"),
            (telling, "what decided"),
            (asking.decision, "billing refused"),
        )
        if entry
    ]
    return in_order((*shown, *(refusal_evidence(facts, ending, ending.refusal) if ending.refusal else ())))


def _values(facts: Facts, asking: Asking) -> dict[str, str]:
    account, destination, prefix, tariff, product = (
        wire_text(asking.fields.get(one, "")) for one in ("account", "destination", "prefix", "tariff", "product")
    )
    rate = f" for {destination}" if destination else ""
    if prefix:
        rate += f" (prefix {prefix})" if destination else f" for the prefix {prefix}"
    return {
        "account": f" {account}" if account else "",
        "asker": who(facts, asking.asker) if asking.asker else "the node",
        "product": f" {product}" if product else "",
        "rate": rate,
        "tariff": (f" in the tariff {tariff}" if tariff else "") + (f" of the product {product}" if product else ""),
    }


destination_forbidden = _refused("destination-forbidden", "rate")
destination_not_in_tariff = _refused("destination-not-in-tariff", "rate", "product")
insufficient_balance = _refused("insufficient-balance", "balance")
credit_limit_reached = _refused("credit-limit-reached", "balance")
account_blocked = _refused("account-blocked", "status", "account")
account_suspended = _refused("account-suspended", "status", "account")
account_closed = _refused("account-closed", "status", "account")
account_expired = _refused("account-expired", "status", "account")
account_not_active_yet = _refused("account-not-active-yet", "status", "account")
customer_blocked = _refused("customer-blocked", "status", "account")
customer_suspended = _refused("customer-suspended", "status", "account")
customer_limited = _refused("customer-limited", "status", "account")
account_unknown = _refused("account-unknown", "account")
service_not_in_product = _refused("service-not-in-product", "product")
node_unknown = _refused("node-unknown", "request")
node_not_in_product = _refused("node-not-in-product", "product")
too_many_simultaneous_calls = _refused("too-many-simultaneous-calls", "limit")


@tells_ending("credentials-rejected", "username", "realm", "proof")
def wrong_password(facts: Facts, ending: Ending) -> Finding | None:
    """The engine checked the credentials and found them wrong."""
    asking = _refusal(facts, ending)
    if asking is None or asking.reason != "wrong-password":
        return None
    found = _finding(facts, ending, asking, "credentials-rejected", ("account",))
    values = {
        "username": wire_text(asking.fields.get("account", "")) or "the device",
        "realm": "",
        "proof": "The billing engine says so: it knows the account, and the password is another.",
    }
    return Finding(found.issue, found.evidence, {**found.values, **values}, found.confidence, mend=found.mend)


@tells_ending("billing-error", "asker")
def billing_error(facts: Facts, ending: Ending) -> Finding | None:
    """The engine answered that it could not decide."""
    asking = _refusal(facts, ending)
    if asking is None or asking.reason != "system-error":
        return None
    return _finding(facts, ending, asking, "billing-error", ())


@tells_ending("billing-refused", "account", "asker", "reason_given")
def billing_refused(facts: Facts, ending: Ending) -> Finding | None:
    """A refusal whose reason is none of ours."""
    asking = _refusal(facts, ending)
    if asking is None or asking.reason != OTHER:
        return None
    found = _finding(facts, ending, asking, "billing-refused", ())
    named = (wire_text(asking.fields.get(one, "")) for one in ("reason", "error_name", "error", "cause"))
    given = next((one for one in named if one), "") or wire_text(asking.fields.get("h323_return_code", ""))
    values = {"reason_given": f"the reason “{given}”" if given else "no reason"}
    return Finding(found.issue, found.evidence, {**found.values, **values}, found.confidence, mend=found.mend)


@tells_ending("billing-unreachable", "asker", "sign", "sequel")
def billing_unreachable(facts: Facts, ending: Ending) -> Finding | None:
    """A node refused after it got no answer: its log or the phrase says so, or the engine's log has the question alone."""
    refusal = ending.refusal
    if refusal is None or ending.answered or refusal.code in CHALLENGES:
        return None
    node, since = refusal.arrow.source, refusal.attempt.began_us - CLOCKS_US
    until = refusal.arrow.time_us + CLOCKS_US
    lines = [one for one in facts.session.entries if one.log and since <= one.time_us <= until]
    told = next((one for one in lines if _of_node(facts, one, node) and _UNANSWERED.search(_lower(one.text))), None)
    if told:
        return _unreachable(facts, ending, refusal, told, "its log says so", 0.95)
    legs = {"", ending.leg.leg.call_id, ending.cause.leg.call_id}
    asked = [one for one in facts.billing.askings if one.request and one.call_id in legs and one.asker == node]
    last = asked[-1] if asked else None
    if last and last.request and last.decision is None and since <= last.request.time_us <= until:
        return _unreachable(facts, ending, refusal, last.request, "no decision follows in the billing log", 0.85)
    if refusal.code >= 500 and _UNANSWERED.search(refusal.words):
        return _unreachable(facts, ending, refusal, None, "its answer says so", 0.9)
    return None


def _unreachable(
    facts: Facts, ending: Ending, refusal: Refusal, shown: Entry | None, sign: str, confidence: float
) -> Finding:
    values = ending_values(facts, ending)
    sequel = f" and refused this {_what(facts)}. {values['ended']}.{values['told']}"
    values |= {"asker": who(facts, refusal.arrow.source), "sign": sign, "sequel": sequel}
    evidence = refusal_evidence(facts, ending, refusal)
    if shown:
        evidence = in_order((Evidence(shown.number, f"no answer from billing: {sign}"), *evidence))
    return Finding("billing-unreachable", evidence, values, confidence, by_absence=sign.startswith("no "))


@remarks("billing-unreachable", "asker", "sign", "sequel")
def billing_unreachable_and_let_through(facts: Facts) -> Finding | None:
    """A node is set to let calls go on while billing is away: this one is charged to nobody."""
    if not any(leg.dialog for leg in facts.legs.values()):
        return None
    for entry in facts.session.entries:
        node = next((one.id for one in facts.participants.values() if _of_node(facts, entry, one.id)), "")
        if node and entry.log and _UNANSWERED.search(_lower(entry.text)):
            sign = "its log says so"
            values = {
                "asker": who(facts, node), "sign": sign,
                "sequel": f" in this {_what(facts)}, which went on. Look whether it was charged.",
            }  # fmt: skip
            shown = (Evidence(entry.number, f"no answer from billing: {sign}"),)
            return Finding("billing-unreachable", shown, values, 0.9, severity="warning")
    return None


def _what(facts: Facts) -> str:
    return shared_values(facts)["kind"]


def _of_node(facts: Facts, entry: Entry, node: str) -> bool:
    participant = facts.participants.get(node)
    names = (participant.id, participant.label, *participant.agents) if participant else ()
    return entry.kind == "log" and entry.node in names


def _lower(text: str) -> str:
    return text[:1000].lower().replace("_", " ")


@remarks("rating-mismatch", "mismatch")
def rating_mismatch(facts: Facts) -> Finding | None:
    """What was charged is not the call that the messages show. Asked only where the billing log has lines of the session."""
    if not facts.billing:
        return None
    return next(iter(_mismatches(facts)), None)


def _mismatches(facts: Facts) -> Iterator[Finding]:
    answered = [leg for leg in facts.legs.values() if leg.method == "INVITE" and leg.dialog]
    for leg in answered:
        finding = _unbilled(facts, leg) or _other_length(facts, leg)
        if finding:
            yield finding
    if not answered and not facts.gaps and not facts.truncated:
        yield from _without_a_call(facts)


def _unbilled(facts: Facts, leg: LegFacts) -> Finding | None:
    """An answered call that was allowed, or told to the engine, and has no xDR a minute after its end."""
    dialog, billing = leg.dialog, facts.billing
    bye = dialog.bye.request if dialog and dialog.bye else None
    until = facts.session.watched_until_us
    if dialog is None or bye is None or billing.charged or until is None or until - bye.time_us < UNTOLD_US:
        return None
    told = _of_leg(billing.told, leg)
    asked = [one for one in billing.askings if one.call_id in (leg.leg.call_id, "") and one.decision]
    if (dialog.duration_us or 0) < APART_S * 1e6 or not (
        told or (asked and asked[-1].allowed and _tells_all(asked[-1]))
    ):
        return None
    why = "it was allowed, but the engine was never told that it was answered"
    if told:
        why = "the engine was never told of its end"
        if any(one.log and billing_log.step_of(one.log) == "stop" for one in told):
            why = "its end was told to the engine, but no xDR was made"
    shown = told[-1] if told else asked[-1].decision
    evidence = [Evidence(dialog.answer.number, "answered"), Evidence(bye.number, "ended")]
    evidence += [Evidence(shown.number, "the last that the billing log tells")] if shown else []
    mismatch = f"The call was answered and lasted {duration(dialog.duration_us or 0)}, but {why}."
    return Finding("rating-mismatch", in_order(evidence), {"mismatch": mismatch}, 0.85, by_absence=True)


def _of_leg(lines: Iterable[Entry], leg: LegFacts) -> list[Entry]:
    return [one for one in lines if one.log and one.log.call_id in (leg.leg.call_id, "")]


def _tells_all(asking: Asking) -> bool:
    return asking.fields.get("engine") == billing_log.OWN_ENGINE


def _other_length(facts: Facts, leg: LegFacts) -> Finding | None:
    """The seconds of the xDR, or of the end that the node told before it, are not the call's."""
    dialog = leg.dialog
    lasted_us = dialog.duration_us if dialog else None
    if dialog is None or lasted_us is None:
        return None
    ends = [one for one in _of_leg(facts.billing.told, leg) if one.log and billing_log.step_of(one.log) == "stop"]
    for entry in _of_leg(facts.billing.charged, leg):
        seconds = next(
            (
                billing_log.seconds_of(one.log)
                for one in (entry, *ends[-1:])
                if one.log and "seconds" in one.log.fields
            ),
            None,
        )
        lasted = lasted_us / 1e6
        if seconds is None or abs(seconds - lasted) <= max(APART_S, lasted * APART_SHARE):
            continue
        mismatch = f"The call lasted {duration(lasted_us)}, its xDR says {duration(round(seconds * 1e6))}."
        return Finding("rating-mismatch", _call_and_xdr(dialog, entry), {"mismatch": mismatch}, 0.9)
    return None


def _call_and_xdr(dialog: Dialog, entry: Entry) -> tuple[Evidence, ...]:
    bye = dialog.bye.request if dialog.bye else None
    shown = [Evidence(dialog.answer.number, "answered"), Evidence(entry.number, "the xDR")]
    return in_order([*shown, *([Evidence(bye.number, "ended")] if bye else [])])


def _without_a_call(facts: Facts) -> Iterator[Finding]:
    """No leg was answered, and still something was charged."""
    calls = [leg for leg in facts.legs.values() if leg.method == "INVITE" and leg.refusal]
    if not calls or any(leg.succeeded for leg in facts.legs.values()):
        return
    for entry in facts.billing.charged:
        if entry.log and billing_log.charges(entry.log):
            refusal = calls[-1].refusal
            shown = [Evidence(entry.number, "the xDR")]
            shown += [Evidence(refusal.arrow.number, "the call was refused")] if refusal else []
            yield Finding(
                "rating-mismatch",
                in_order(shown),
                {"mismatch": "No leg of the call was answered, and still it has an xDR."},
                0.85,
            )
