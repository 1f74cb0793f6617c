"""Credentials and registration: what a challenge that was not overcome says (RFC 3261 section 22, RFC 7616), and bindings."""

from __future__ import annotations

import re
from itertools import pairwise

from ringback.sessions.diagnose.facts import Ending, Facts
from ringback.sessions.diagnose.facts.attempts import CHALLENGES
from ringback.sessions.diagnose.facts.authentication import Challenge, Credentials, Try
from ringback.sessions.diagnose.facts.legs import Refusal
from ringback.sessions.diagnose.facts.registrations import Binding, bindings_of
from ringback.sessions.diagnose.finding import Finding, evidence, remarks, tells_ending
from ringback.sessions.diagnose.telling import ending_values, refusal_evidence, who
from ringback.sessions.diagnose.wording import counted, duration, listed, times, wire_text
from ringback.sessions.story import Evidence

PROMPT_US = (
    10_000_000  # credentials sent this soon after their challenge are not late: nonces live for a minute or more
)
FLAPPING_CYCLES = 2  # registered, removed and registered again, this often
FLAPPING_CONTACTS = 3  # changes of the contact's address
FLAPPING_WITHIN_US = 3_600_000_000  # all of it within an hour
EARLY_REFRESHES = 4  # accepted registrations in a row that came much sooner than they had to
EARLY_SHARE = 0.2  # of the granted time
EARLY_US = 60_000_000  # and sooner than this: slower ones hardly load anything
OVERWRITES = 2  # times that one device's binding pushed out the other's, and back

_NONCE = re.compile(
    r"\bstale\b|nonce (is |has |was )?(expired|changed|invalid|unknown|old|too old|outdated)|(expired|old|invalid) nonce"
)
_WRONG = re.compile(
    r"pass ?word|wrong pass|credential|bad auth|auth\w* (failed|failure|error|mismatch|rejected|denied)"
    r"|(failed|invalid|incorrect|wrong) (auth\w*|user ?name|user|login|domain|realm|digest|secret|response)"
    r"|user ?name (mismatch|unknown|not found)|unknown (domain|realm|auth)|domain (not served|unknown|mismatch)"
    r"|realm mismatch|digest mismatch|auth\w* user ?name"
)
_UNKNOWN_USER = re.compile(
    r"(unknown|no such|invalid) (user|account|subscriber|aor)|(user|account|subscriber|aor) (unknown|not found|does not exist)"
)
_REFUSING = frozenset({400, 401, 403, 404, 407, 603})


@tells_ending("nonce-expired", "username", "nonce_age", "expired")
def nonce_expired(facts: Facts, ending: Ending) -> Finding | None:
    """Challenged again after credentials: with stale=true, in words, or with a new nonce when the old one was not fresh."""
    refusal = ending.refusal
    if refusal is None:
        return None
    last = ending.cause.tries[-1]
    known = _rejected(last)
    if refusal.code in _REFUSING and _NONCE.search(refusal.words) and last.credentials:
        used = known[1] if known else last.credentials[0]
        why = f"the answer says so: {refusal.arrow.sip.phrase}"
        return _nonce_finding(facts, ending, refusal, used, 0.95, why)
    if known is None:
        return None
    challenge, credentials = known
    age = _nonce_age(ending, last, credentials)
    if challenge.stale:
        return _nonce_finding(facts, ending, refusal, credentials, 1.0, "the new challenge says stale=true")
    if challenge.nonce != credentials.nonce and (age is None or age > PROMPT_US):
        why = "the server asked again with a new nonce"
        return _nonce_finding(facts, ending, refusal, credentials, 0.75, why)
    return None


def _nonce_finding(
    facts: Facts, ending: Ending, refusal: Refusal, used: Credentials, confidence: float, why: str
) -> Finding:
    last = ending.cause.tries[-1]
    age = _nonce_age(ending, last, used)
    shown = evidence(
        (last.attempt.request, "credentials that answer an older challenge"),
        (refusal.arrow, f"challenged again: {why}"),
    )
    values = {
        "username": wire_text(used.username) or "the device",
        "nonce_age": (
            "That challenge is not in the capture."
            if age is None
            else f"They came {duration(age)} after that challenge."
        ),
        "expired": wire_text(why),
    }
    return Finding("nonce-expired", shown, ending_values(facts, ending) | values, confidence)


@tells_ending("credentials-rejected", "username", "realm", "proof")
def credentials_rejected(facts: Facts, ending: Ending) -> Finding | None:
    """The same nonce again after credentials, a new one though they were prompt, or words about password, user or domain."""
    refusal = ending.refusal
    if refusal is None:
        return None
    last = ending.cause.tries[-1]
    known = _rejected(last)
    if known:
        challenge, credentials = known
        again = challenge.nonce == credentials.nonce
        repeated = sum(_rejected(one) is not None for one in ending.cause.tries) > 1
        proof = (
            "The server asked again with the same nonce, so it was the password or user name that it did not accept."
            if again
            else "The server asked again at once with a new nonce and did not call the old one stale, so it was the password "
            "or user name that it did not accept."
        )
        return _rejection(facts, ending, refusal, credentials, proof, 1.0 if again else 0.9 if repeated else 0.8)
    sent = last.credentials[0] if last.credentials else None
    if refusal.code in _REFUSING and _WRONG.search(refusal.words) and (sent or refusal.code not in CHALLENGES):
        return _rejection(
            facts, ending, refusal, sent, "The answer itself names the credentials as the reason.", 0.95
        )
    registers = ending.cause.method == "REGISTER"
    asked_who = registers or refusal.code == 403 or (sent and refusal.code in CHALLENGES)
    if (registers and refusal.code in (404, 604)) or (asked_who and _UNKNOWN_USER.search(refusal.words)):
        return _rejection(facts, ending, refusal, sent, "It does not know this user.", 0.85)
    return None


def _rejection(
    facts: Facts, ending: Ending, refusal: Refusal, sent: Credentials | None, proof: str, confidence: float
) -> Finding:
    request = refusal.attempt.request
    username = sent.username if sent and sent.username else _sender(ending)
    values = {
        "username": wire_text(username) or "the device",
        "realm": f" for the realm {wire_text(sent.realm)}" if sent and sent.realm else "",
        "proof": proof,
    }
    shown = evidence(
        *((one.origin.arrow if one.origin else None, "the challenge") for one in ending.cause.tries[:-1][-1:]),
        (request, "with credentials" if sent else "the request"),
        (refusal.arrow, f"refused by {who(facts, refusal.arrow.source)}"),
    )
    return Finding("credentials-rejected", shown, ending_values(facts, ending) | values, confidence)


@tells_ending("no-credentials-sent", "asked")
def no_credentials_sent(facts: Facts, ending: Ending) -> Finding | None:
    """The last try was challenged, carried no credentials for that challenge, and was not repeated."""
    refusal = ending.refusal
    if refusal is None or refusal.code not in CHALLENGES:
        return None
    last = ending.cause.tries[-1]
    if refusal.attempt is not last.attempt or last.attempt.request is None or _rejected(last):
        return None
    realms = listed((f"“{wire_text(one.realm)}”" for one in last.challenges), "or")
    others = listed(f"“{wire_text(one.realm)}”" for one in last.credentials)
    asked = f" for {realms}" if realms else ""
    if others:
        asked += f" (it sent credentials for {others} only)"
    shown = evidence(
        (last.attempt.request, "without the credentials that are asked for"),
        (refusal.arrow, f"the challenge, by {who(facts, refusal.arrow.source)}"),
    )
    silence = facts.silence_us or 0
    return Finding(
        "no-credentials-sent", shown, ending_values(facts, ending) | {"asked": asked},
        0.9 if silence > PROMPT_US else 0.75, by_absence=True,
    )  # fmt: skip


@tells_ending("registration-too-brief", "asked_for", "at_least")
def registration_too_brief(facts: Facts, ending: Ending) -> Finding | None:
    """423 was the last word; a device that asks again for longer has done right."""
    refusal = ending.refusal
    if refusal is None or refusal.code != 423:
        return None
    request = refusal.attempt.request
    asked = ""
    if request:
        contacts = request.sip.addresses("contact")
        asked = next((one.parameters["expires"] for one in contacts if "expires" in one.parameters), "")
        asked = asked or request.sip.header("expires")
    least = refusal.arrow.sip.header("min-expires")
    values = {
        "asked_for": f"{wire_text(asked)} s" if asked else "a time",
        "at_least": f"{wire_text(least)} s" if least else "a longer time, which it does not name",
    }
    return Finding(
        "registration-too-brief", refusal_evidence(facts, ending, refusal), ending_values(facts, ending) | values
    )


@remarks("registration-flapping", "pattern", "span")
def registration_flapping(facts: Facts) -> Finding | None:
    """Within one Call-ID: removed and made again, contact addresses that keep changing, or refreshes far too early."""
    for leg in facts.legs.values():
        if leg.leg.kind != "registration" or _overwriting(bindings_of(leg)):
            continue
        bindings = bindings_of(leg)
        for start, first in enumerate(bindings):
            window = [
                one for one in bindings[start:] if one.arrow.time_us - first.arrow.time_us <= FLAPPING_WITHIN_US
            ]
            pattern = _flapping(window)
            if pattern:
                shown = tuple(Evidence(one.arrow.number, _asks(one)) for one in window[:12])
                span = duration(window[-1].arrow.time_us - first.arrow.time_us)
                return Finding("registration-flapping", shown, {"pattern": pattern, "span": span}, 0.85)
    return None


def _flapping(bindings: list[Binding]) -> str:
    """The pattern in words, "" when there is none."""
    returns = sum(before.removed and not after.removed for before, after in pairwise(bindings))
    if returns >= FLAPPING_CYCLES:
        return f"removed its registration and made it again {times(returns)}"
    kept = [one for one in bindings if not one.removed and one.contact]
    for device in dict.fromkeys(one.device for one in kept):
        contacts = [one.contact for one in kept if one.device == device]
        moves = sum(before != after for before, after in pairwise(contacts))
        if moves >= FLAPPING_CONTACTS and len(set(contacts)) >= FLAPPING_CONTACTS:
            return f"changed its contact address {times(moves)} (last {contacts[-1]})"
    early = [
        after
        for before, after in pairwise(kept)
        if after.arrow.time_us - before.arrow.time_us < min(EARLY_US, EARLY_SHARE * before.expires_s * 1e6)
    ]
    if len(early) >= EARLY_REFRESHES:
        return (
            f"registered again {times(len(early))} long before its {counted(kept[0].expires_s, 'second')} were over"
        )
    return ""


def _asks(one: Binding) -> str:
    return "removes the registration" if one.removed else f"registers {one.contact} for {one.expires_s} s"


@remarks("registrations-overwrite", "devices", "switches")
def registrations_overwrite(facts: Facts) -> Finding | None:
    """Two devices take turns in one binding, under one Call-ID or two that `correlate.registrations` linked."""
    bindings = sorted(
        (one for leg in facts.legs.values() if leg.leg.kind == "registration" for one in bindings_of(leg)),
        key=lambda one: one.arrow.time_us,
    )
    turns = _overwriting(tuple(bindings))
    if not turns:
        return None
    shown = tuple(Evidence(one.answer.number, f"only {one.contact} is registered now") for one in turns[:12])
    devices = listed(
        f"{one.contact} ({wire_text(one.arrow.sip.header('user-agent')) or 'no User-Agent'})" for one in turns
    )
    return Finding("registrations-overwrite", shown, {"devices": devices, "switches": times(len(turns) - 1)}, 0.8)


def _overwriting(bindings: tuple[Binding, ...]) -> list[Binding]:
    """The turns of exactly two contacts, each of which ends up alone; empty when they do not push each other out."""
    alone = [one for one in bindings if not one.removed and one.listed and set(one.listed) == {one.contact}]
    turns = alone[:1] + [after for before, after in pairwise(alone) if after.contact != before.contact]
    return turns if len({one.contact for one in turns}) == 2 and len(turns) > OVERWRITES else []


def _rejected(one: Try) -> tuple[Challenge, Credentials] | None:
    """The challenge that came in spite of credentials for it, and those."""
    for challenge in one.challenges:
        credentials = one.answer_to(challenge)
        if credentials:
            return challenge, credentials
    return None


def _nonce_age(ending: Ending, last: Try, credentials: Credentials) -> int | None:
    """How old the nonce was when it was used; None when the capture does not hold its challenge."""
    used = last.attempt.began_us
    for one in reversed(ending.cause.tries):
        if one.origin and one is not last and any(each.nonce == credentials.nonce for each in one.challenges):
            return max(0, used - one.origin.arrow.time_us)
    return None


def _sender(ending: Ending) -> str:
    request = ending.attempt.request if ending.attempt else None
    if request is None:
        return ""
    name = "to" if ending.cause.method == "REGISTER" else "from"
    return next((one.uri.user for one in request.sip.addresses(name)), "")
