"""What the billing log adds to the answer: its reasons before the codes, evidence on both sides, and the entity to mend."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from diagnosis_cases_billing import ALSO, BILLED_CALL, FORBIDDEN, decided
from diagnosis_ladders import HEALTHY, NODES, TALK, hang_up, wait

from ringback.demo import recording
from ringback.demo.copies import again, originals
from ringback.sessions.capture.hep import SIP, decode
from ringback.sessions.classic import classic_text
from ringback.sessions.correlate import build_session, build_sessions
from ringback.sessions.diagnose import CatalogueError, diagnose, load_catalogue
from ringback.sessions.diagnose.billing_reasons import OTHER, REASONS, built_in
from ringback.sessions.diagnose.catalogue import Catalogue
from ringback.sessions.diagram.svg import advanced_svg, basic_svg
from ringback.sessions.diagram.text import ladder
from ringback.sessions.masking import masked_session
from ringback.sessions.schemas import OpenedSession
from ringback.sessions.story import Issue, LogLine, Mend, Session, Sighting
from scenario import play


def told(ladder: str, catalogue: Catalogue | None = None) -> tuple[Session, list[Issue]]:
    played = play(ladder)
    session = build_sessions(played.sightings, logs=played.logs, nodes=played.nodes)[0]
    return session, diagnose(session, catalogue or load_catalogue())


def test_a_refusal_rests_on_the_message_and_on_the_lines_and_names_what_to_mend() -> None:
    session, (issue,) = told(FORBIDDEN)
    kinds = {entry.number: entry.kind for entry in session.entries}
    assert [kinds[one.message] for one in issue.evidence] == ["sip", "billing", "billing", "billing", "sip"]
    assert issue.mend == (Mend("account", 7),)
    assert issue.confidence == 1.0
    assert issue.description == (
        "edge asked the billing engine, which refused this call: the rate for Premium numbers 866 (prefix 1866) in the tariff "
        "Home voice of the product Home Phone is marked as forbidden, so the account 12103355787 may not call 18660333777. "
        "edge answered the INVITE with 403 Destination forbidden after 0.016 s."
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("", "refused this call: the rate is marked as forbidden, so"),
        ("prefix=1866", "the rate for the prefix 1866 is marked as forbidden, so"),
        ("destination=USA tariff=Home", "the rate for USA in the tariff Home is marked as forbidden, so"),
        ("prefix=1866 product=Basic", "the rate for the prefix 1866 of the product Basic is marked as forbidden, so"),
    ],
)
def test_a_refusal_names_of_the_rate_what_the_lines_name(fields: str, said: str) -> None:
    _, (issue,) = told(decided("destination-forbidden", step="rate", fields=fields))
    assert said in issue.description


@pytest.mark.parametrize(
    ("reason", "named", "unnamed"),
    [
        ("destination-not-in-tariff", "no rate in the tariff Home of the product Basic covers 18660333777", "no rate covers 1"),
        ("service-not-in-product", "the product Basic of the account 12103355787 does not", "the product of the account 1210"),
        ("node-not-in-product", "the product Basic of the account 12103355787 is not", "the product of the account 1210"),
    ],
)  # fmt: skip
def test_other_refusals_name_tariff_and_product_too(reason: str, named: str, unnamed: str) -> None:
    for fields, said in (("tariff=Home product=Basic", named), ("", unnamed)):
        _, (issue,) = told(decided(reason, step="product", fields=fields))
        assert said in issue.description


def test_tariff_and_product_are_nobodys() -> None:
    """Who may not see personal data still reads what was refused, and why."""
    session, issues = told(FORBIDDEN)
    masked = masked_session(OpenedSession("x", session, issues), [])
    assert "in the tariff Home voice of the product Home Phone" in masked.issues[0].description
    assert "12103355787" not in masked.issues[0].description
    fields = [entry.log.fields for entry in masked.session.entries if entry.log and "tariff" in entry.log.fields]
    assert [(one["tariff"], one["product"]) for one in fields] == [("Home voice", "Home Phone")]


@pytest.mark.parametrize("reason", sorted(REASONS - {"wrong-password", "system-error"}))
@pytest.mark.parametrize(
    "answer", ["403 Forbidden", "404 Not Found", "486 Busy Here", "503 No circuit available", "603 Decline"]
)
def test_the_reason_decides_whatever_the_node_answered(reason: str, answer: str) -> None:
    _, issues = told(decided(reason, answer))
    assert [issue.id for issue in issues] == [reason]


@pytest.mark.parametrize("ladder", ALSO["credentials-rejected"], ids=["call", "registration"])
def test_a_wrong_password_is_told_as_credentials(ladder: str) -> None:
    _, issues = told(ladder)
    assert issues[0].id == "credentials-rejected"
    assert "12103355787" in issues[0].description


@pytest.mark.parametrize("apart_s", [-1.5, 0.5, 1.5])
def test_the_engines_clock_may_be_another(apart_s: float) -> None:
    played = play(FORBIDDEN)
    logs = [replace(line, time_us=line.time_us + round(apart_s * 1e6)) for line in played.logs]
    session = build_sessions(played.sightings, logs=logs, nodes=played.nodes)[0]
    assert diagnose(session, load_catalogue())[0].id == "destination-forbidden"


def test_lines_that_know_the_billing_session_only() -> None:
    played = play(FORBIDDEN)
    for line in played.logs:
        line.call_id, line.fields["conf_id"] = "", "0000000000000000000000000000abcd"
    session = build_session(played.sightings, logs=played.logs, nodes=played.nodes)
    assert diagnose(session, load_catalogue())[0].id == "destination-forbidden"


@pytest.mark.parametrize("link_id", ["", "abc", "-1", "7" * 30, "٣"])
def test_a_link_that_leads_nowhere_is_none(link_id: str) -> None:
    played = play(FORBIDDEN)
    for line in played.logs:
        line.fields["link_id"] = link_id
    session = build_session(played.sightings, logs=played.logs, nodes=played.nodes)
    assert diagnose(session, load_catalogue())[0].mend == ()


def test_every_recorded_call_shows_no_more_with_a_healthy_billing_log() -> None:
    """Allowed, begun, ended and charged as long as it was: nothing of it is an issue, and nothing of it hides one."""
    catalogue = load_catalogue()
    for name, original in originals(*recording.load()).items():
        packets = [decode(one.packet, 0) for one in again(original, 1_795_348_800_000_000)]
        sightings = [Sighting(*packet[:5]) for packet in packets if packet.payload_type == SIP]
        plain = build_session(sightings)
        billed = build_session(sightings, logs=healthy_log(plain))
        assert {one.id for one in diagnose(plain, catalogue)}.isdisjoint(
            one.id for one in catalogue if one.group == "billing"
        ), name
        assert [one.id for one in diagnose(billed, catalogue)] == [one.id for one in diagnose(plain, catalogue)], name


def healthy_log(session: Session) -> list[LogLine]:
    lines = []
    for leg in session.legs:
        if leg.kind != "call":
            continue
        asked = {"engine": "ringback", "account": leg.caller}
        steps = [(leg.started_us + 500, "request", {}), (leg.started_us + 900, "decision", {"result": "allowed"})]
        if leg.answered_us is not None:
            steps.append((leg.answered_us + 500, "start", {}))
        if leg.answered_us is not None and leg.duration_s is not None:
            ended_us = leg.answered_us + round(leg.duration_s * 1e6)
            seconds = {"seconds": str(round(leg.duration_s))}
            steps += [(ended_us + 500, "stop", seconds), (ended_us + 900, "xdr", {**seconds, "amount": "0.1"})]
        node = session.participants[1].label
        lines += [
            LogLine(time_us, "billing", node, "info", step, leg.call_id, {**asked, "step": step, **fields})
            for time_us, step, fields in steps
        ]
    return lines


@pytest.mark.parametrize("seed", range(60))
def test_no_line_breaks_the_story_whatever_its_fields_say(seed: int) -> None:
    """Every drawing, the text, the answer and the masked session are made of it, and each piece of evidence is there."""
    dice = random.Random(seed)
    played = play(dice.choice((FORBIDDEN, HEALTHY, BILLED_CALL)))
    words = ["", "ringback", "edge", "101", "192.0.2.10", "0", "-1", "9" * 40, "١", "nan", "inf", "1e400", "a" * 5000,
             "\x1b[31m", "refused", "allowed", "decision", "xdr", "request", "stop", "{caller}", "<b>", "\udcff",
             "Billing engine"]  # fmt: skip
    names = ["step", "result", "reason", "error_name", "h323_return_code", "engine", "asked_by", "seconds", "amount", "xdr",
             "link_type", "link_id", "account", "i_account", "conf_id", "destination", "prefix", "charged_seconds", "tariff",
             "product"]  # fmt: skip
    for _ in range(dice.randint(1, 40)):
        fields = {name: dice.choice(words) for name in dice.sample(names, dice.randint(0, len(names)))}
        time_us = played.sightings[0].time_us + dice.randint(-3_000_000, 60_000_000)
        call_id = dice.choice(["a-call@acme.example", "", "another"])
        line = LogLine(time_us, "billing", dice.choice(words), "info", dice.choice(words), call_id, fields)
        played.logs.append(line)
    session = build_session(played.sightings, logs=played.logs, nodes=played.nodes)
    issues = diagnose(session, load_catalogue())
    numbers = {entry.number for entry in session.entries}
    lanes = {one.id for one in session.participants}
    assert all(evidence.message in numbers for issue in issues for evidence in issue.evidence)
    assert all({entry.source, entry.destination} <= lanes | {""} for entry in session.entries)
    assert len(lanes) == len(session.participants)
    assert "\x1b" not in ladder(session, 100, False, issues) + classic_text(session)
    assert basic_svg(session, issues).startswith("<svg")
    assert "<b>" not in advanced_svg(session, issues)
    masked = masked_session(OpenedSession("x", session, issues), played.nodes)
    assert [issue.mend for issue in masked.issues] == [issue.mend for issue in issues]
    assert {entry.source for entry in masked.session.entries} <= {one.id for one in masked.session.participants} | {
        ""
    }


def test_a_call_without_billing_lines_has_no_mismatch() -> None:
    for call in (HEALTHY, NODES + TALK + hang_up() + wait(120)):
        assert [issue.id for issue in told(call)[1]] == ["normal"]


class TestReasons:
    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"reason": "destination-forbidden"}, "destination-forbidden"),
            ({"reason": "Destination Forbidden"}, "destination-forbidden"),
            ({"error_name": "cld_blocked", "h323_return_code": "9"}, "destination-forbidden"),
            ({"reason": "?", "error_name": "insufficient_balance"}, "insufficient-balance"),
            ({"h323_return_code": "5"}, "account-expired"),
            ({"cause": "OUTGOING_CALL_BARRED"}, "destination-forbidden"),
            ({"error": "INSUFFICIENT_CREDIT"}, "insufficient-balance"),
            ({"reason": "moon-phase"}, OTHER),
            ({}, OTHER),
        ],
    )
    def test_what_engines_say(self, fields: dict[str, str], reason: str) -> None:
        assert built_in().of(fields) == reason

    def test_every_reason_has_its_issue(self) -> None:
        catalogue = load_catalogue()
        told_as = {"wrong-password": "credentials-rejected", "system-error": "billing-error"}
        assert all(catalogue.get(told_as.get(one, one)) for one in REASONS)
        assert set(built_in().names.values()) | set(built_in().codes.values()) <= REASONS

    def test_an_operators_own_win(self, tmp_path: Path) -> None:
        (tmp_path / "billing-reasons.toml").write_text(
            '[reasons]\nmoon-phase = "account-suspended"\ncld_blocked = "destination-not-in-tariff"\n'
            '[h323_return_code]\n99 = "account-closed"\n'
        )
        catalogue = load_catalogue(tmp_path)
        assert told(decided("moon-phase"), catalogue)[1][0].id == "account-suspended"
        assert catalogue.reasons.of({"reason": "cld_blocked"}) == "destination-not-in-tariff"
        assert catalogue.reasons.of({"h323_return_code": "99"}) == "account-closed"
        assert catalogue.reasons.of({"h323_return_code": "1"}) == "account-unknown"

    @pytest.mark.parametrize(
        ("text", "key"),
        [
            ('[reasons]\nx = "no-such"', "reasons.x"), ('x = "account-closed"', "x"), ("[more]", "more"),
            ("[reasons]\nx = 1", "reasons.x"), ("[", ""),
        ],
    )  # fmt: skip
    def test_a_mistake_is_told_with_file_and_key(self, tmp_path: Path, text: str, key: str) -> None:
        (tmp_path / "billing-reasons.toml").write_text(text)
        with pytest.raises(CatalogueError) as caught:
            load_catalogue(tmp_path)
        assert caught.value.key == key
        assert caught.value.path.name == "billing-reasons.toml"
