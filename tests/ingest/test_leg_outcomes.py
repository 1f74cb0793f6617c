"""What the leg table makes of a call, message by message, must be what correlation makes of the whole story."""

from textwrap import dedent

import pytest

from ringback.events.store import LegRow, Role, Trouble
from ringback.sessions.correlate import build_sessions
from ringback.sessions.ingest.legs import LegTable
from ringback.sessions.ingest.packing import stored
from ringback.sessions.story import Hop
from scenario import Played
from scenario import play as play_ladder

SECOND = 1_000_000
PEOPLE = """
    alice = 198.51.100.23:5060  ua=Yealink
    edge  = 192.0.2.10:5060     agent=101 node=edge cluster
    core  = 192.0.2.20:5060     agent=102 node=core cluster
    bob   = 203.0.113.9:5060    ua=Snom
    carol = 203.0.113.10:5060
"""
INVITE = """
    0.000  alice -> edge  INVITE sip:18660333777@acme.example  from=12103355787 sdp
    +.002  edge -> alice  100
    +.001  edge -> bob    INVITE sip:18660333777@203.0.113.9
"""
RINGS = """
    +.080  bob -> edge    180 Ringing
    +.001  edge -> alice  180
"""
ANSWERED = (
    INVITE
    + "---"
    + RINGS
    + """---
    2.000  bob -> edge    200 OK  sdp
    2.001  edge -> alice  200
    2.100  alice -> edge  ACK
    2.101  edge -> bob    ACK
"""
)
BYE = """
    12.000 alice -> edge  BYE
    12.001 edge -> bob    BYE
    12.010 bob -> edge    200
    12.011 edge -> alice  200
"""


def refused(code: str) -> str:
    return f"""---
    3.000  bob -> edge    {code}
    3.001  edge -> bob    ACK
    3.002  edge -> alice  {code}
    3.010  alice -> edge  ACK
    """


def play(ladder: str) -> Played:
    """Pieces of a ladder are joined by ---, each with a margin of its own."""
    pieces = (PEOPLE + "---" + ladder).split("---")
    played = play_ladder("\n".join(dedent(piece).strip("\n") for piece in pieces))
    hops: dict[Hop, Hop] = {}  # decoders intern them
    played.sightings = [each._replace(hop=hops.setdefault(each.hop, each.hop)) for each in played.sightings]
    return played


def rows_of(ladder: str, after_s: float = 1.0) -> list[LegRow]:
    played = play(ladder)
    table = LegTable()
    taken = []
    for sighting in played.sightings:  # one message a batch: nothing may hang on how they are cut
        for message in ([], [sighting]):  # time passes before it comes
            table.add(message)
            taken.append(table.take(sighting.time_us))
            stored(taken[-1])
    taken.append(table.finish(played.sightings[-1].time_us + round(after_s * 1e6)))
    assert not table.refused
    rows = {id(leg.row): leg.row for each in taken for leg in (*each.legs, *each.settled)}
    assert sum(row.messages for row in rows.values()) == len(played.sightings)
    return list(rows.values())


def row_of(ladder: str, after_s: float = 1.0) -> LegRow:
    (row,) = rows_of(ladder, after_s)
    return row


@pytest.mark.parametrize(
    ("ladder", "outcome", "code", "trouble"),
    [
        pytest.param(ANSWERED + "---" + BYE, "answered", 200, 0, id="answered"),
        pytest.param(ANSWERED, "answered", 200, 0, id="goes on"),
        pytest.param(INVITE, "in_progress", 0, 0, id="just begun"),
        pytest.param(INVITE + "---" + RINGS + refused("486 Busy Here"), "busy", 486, 0, id="busy"),
        pytest.param(INVITE + refused("600 Busy Everywhere"), "busy", 600, 0, id="busy everywhere"),
        pytest.param(INVITE + refused("404 Not Found"), "failed", 404, 0, id="unknown number"),
        pytest.param(INVITE + refused("302 Moved Temporarily"), "redirected", 302, 0, id="redirected"),
        pytest.param(INVITE + "---" + RINGS + refused("480 Temporarily Unavailable"), "no_answer", 480, 0, id="rang out"),
        pytest.param(INVITE + "---" + RINGS + refused("408 Request Timeout"), "no_answer", 408, 0, id="ring timer"),
        pytest.param(INVITE + refused("480 Temporarily Unavailable"), "failed", 480, 0, id="never rang"),
        pytest.param(INVITE + "---" + RINGS + refused("603 Decline"), "failed", 603, 0, id="declined"),
        pytest.param(
            INVITE + "---" + RINGS + """---
            3.000  alice -> edge  CANCEL
            3.001  edge -> alice  200  for=CANCEL
            3.002  edge -> bob    CANCEL
            3.003  bob -> edge    200  for=CANCEL
            3.004  bob -> edge    487  for=INVITE
            3.005  edge -> bob    ACK
            3.006  edge -> alice  487  for=INVITE
            3.010  alice -> edge  ACK
            """, "cancelled", 487, 0, id="caller gave up",
        ),
        pytest.param(
            INVITE + "---" + RINGS + """---
            30.000 edge -> bob    CANCEL
            30.001 bob -> edge    200  for=CANCEL
            30.004 bob -> edge    487  for=INVITE
            30.005 edge -> bob    ACK
            30.006 edge -> alice  408
            30.010 alice -> edge  ACK
            """, "no_answer", 408, Trouble.FAILED_BRANCH, id="proxy gave up",
        ),
        pytest.param(
            """
            0.000  alice -> edge  INVITE sip:bob@acme.example  from=alice sdp
            +.001  edge -> alice  407  auth=n1
            +.001  alice -> edge  ACK
            +.100  alice -> edge  INVITE sip:bob@acme.example  auth=n1 sdp
            +.001  edge -> bob    INVITE sip:bob@203.0.113.9
            1.000  bob -> edge    200 OK sdp
            1.001  edge -> alice  200
            1.002  alice -> edge  ACK
            """, "answered", 200, 0, id="challenged once",
        ),
        pytest.param(
            """
            0.000  alice -> edge  INVITE sip:bob@acme.example  from=alice sdp
            +.001  edge -> alice  407  auth=n1
            +.001  alice -> edge  ACK
            +.100  alice -> edge  INVITE sip:bob@acme.example  auth=n1 sdp
            +.001  edge -> alice  407  auth=n1
            +.001  alice -> edge  ACK
            """, "failed", 407, Trouble.CHALLENGED_TWICE, id="wrong password",
        ),
        pytest.param(
            INVITE + """---
            0.500  bob -> edge    503
            +.001  edge -> bob    ACK
            +.001  edge -> carol  INVITE sip:18660333777@203.0.113.10
            1.000  carol -> edge  200 OK sdp
            1.001  edge -> alice  200
            1.002  alice -> edge  ACK
            """, "answered", 200, Trouble.FAILED_BRANCH, id="the second route worked",
        ),
        pytest.param(
            INVITE + "---0.500,1.500,3.500 edge -> bob again INVITE", "in_progress", 0, Trouble.RETRANSMITTED,
            id="still trying",
        ),
        pytest.param(
            ANSWERED + """---
            5.000  bob -> edge    INVITE  new as=callee sdp
            5.001  edge -> bob    488
            5.002  bob -> edge    ACK
            """ + "---" + BYE, "answered", 200, Trouble.OTHER, id="a refused re-INVITE",
        ),
        pytest.param(
            ANSWERED + """---
            12.000 bob -> edge    BYE
              Reason: Q.850;cause=38;text="Network out of order"
            12.010 edge -> bob    200
            """, "answered", 200, Trouble.ABNORMAL_BYE, id="torn down",
        ),
        pytest.param(
            """
            0.000  alice -> edge  REGISTER sip:acme.example from=alice contact=sip:alice@198.51.100.23 expires=3600
            +.001  edge -> alice  401  auth=n1
            +.100  alice -> edge  REGISTER sip:acme.example auth=n1 contact=sip:alice@198.51.100.23 expires=3600
            +.001  edge -> alice  200
            """, "registered", 200, 0, id="registered",
        ),
        pytest.param(
            """
            0.000  alice -> edge  REGISTER sip:acme.example from=alice contact=sip:alice@198.51.100.23 expires=0
            +.001  edge -> alice  200
            """, "unregistered", 200, 0, id="unregistered",
        ),
        pytest.param(
            """
            0.000  alice -> edge  REGISTER sip:acme.example from=alice contact=sip:alice@198.51.100.23 expires=3600
            +.001  edge -> alice  403 Forbidden
            """, "rejected", 403, 0, id="registration refused",
        ),
        pytest.param(
            """
            0.000  alice -> edge  MESSAGE sip:bob@acme.example from=alice
            +.001  edge -> alice  202
            """, "succeeded", 202, 0, id="message",
        ),
        pytest.param(
            """
            0.000  alice -> edge  OPTIONS sip:edge@acme.example from=alice
            +.001  edge -> alice  404
            """, "failed", 404, 0, id="options",
        ),
    ],
)  # fmt: skip
def test_the_outcome_is_what_the_messages_say(ladder: str, outcome: str, code: int, trouble: int) -> None:
    row = row_of(ladder)
    assert (row.outcome, row.code, Trouble(row.trouble)) == (outcome, code, Trouble(trouble))
    (session,) = build_sessions(play(ladder).sightings)
    if row.code == 407:  # correlation waits no longer for credentials: its story has ended
        assert session.outcome in (outcome, "in_progress")
    else:
        assert (session.outcome, session.final_code or 0) == (outcome, code)
    assert (row.kind, row.caller, row.called) == (session.kind, session.caller, session.called)


@pytest.mark.parametrize(
    ("ladder", "after_s", "outcome"),
    [
        (INVITE, 20, "in_progress"),
        ("0.000 alice -> edge INVITE sip:bob@acme.example", 40, "failed"),
        (INVITE, 100, "in_progress"),  # it heard a 100: timer C runs
        (INVITE, 300, "failed"),
        (INVITE + "---" + RINGS, 300, "no_answer"),
        (INVITE + "---" + RINGS + "---3.0 alice -> edge CANCEL", 40, "cancelled"),
        (ANSWERED, 3600, "answered"),
        ("0.000 alice -> edge REGISTER sip:acme.example from=alice", 40, "rejected"),
        ("0.000 alice -> edge MESSAGE sip:bob@acme.example", 40, "failed"),
    ],
)
def test_silence_decides_in_the_end(ladder: str, after_s: float, outcome: str) -> None:
    row = row_of(ladder, after_s)
    assert row.outcome == outcome
    assert bool(row.trouble & Trouble.NO_FINAL) == (outcome not in ("in_progress", "answered"))


def test_responses_alone_are_incomplete() -> None:
    played = play(ANSWERED)
    table = LegTable()
    table.add([each for each in played.sightings if each.payload.startswith(b"SIP")])
    (leg,) = table.take(0).legs
    assert (leg.row.outcome, leg.row.kind, leg.row.method) == ("incomplete", "call", "INVITE")
    assert (leg.row.caller, leg.row.called) == ("12103355787", "18660333777")


def test_a_call_that_was_on_when_the_capture_began_is_incomplete() -> None:
    played = play(ANSWERED + "---" + BYE)
    table = LegTable()
    table.add(played.sightings[-4:])
    (leg,) = table.take(0).legs
    assert (leg.row.outcome, leg.row.kind, leg.row.method) == ("incomplete", "call", "BYE")


@pytest.mark.parametrize("shift", [1, 2, 3, 5])
def test_a_response_may_overtake_its_request(shift: int) -> None:
    sightings = play(ANSWERED + "---" + BYE).sightings
    sightings.insert(shift, sightings.pop(0))
    table = LegTable()
    table.add(sightings)
    (leg,) = table.take(0).legs
    assert (leg.row.outcome, leg.row.code, leg.row.method) == ("answered", 200, "INVITE")


def test_a_final_response_that_overtook_its_request_counts() -> None:
    sightings = play("0 alice -> edge INVITE sip:bob@acme.example\n+.001 edge -> alice 404").sightings
    table = LegTable()
    table.add(reversed(sightings))
    (leg,) = table.take(0).legs
    assert (leg.row.outcome, leg.row.code) == ("failed", 404)


def test_the_hop_nearest_the_caller_decides() -> None:
    row = row_of(
        INVITE
        + """---
        0.500  bob -> edge    500
        0.501  edge -> bob    ACK
        0.600  edge -> alice  480
        0.700  alice -> edge  ACK
    """
    )
    assert (row.outcome, row.code, row.phrase) == ("failed", 480, "Temporarily Unavailable")
    assert row.trouble & Trouble.FAILED_BRANCH


def test_when_the_callers_hop_is_not_captured_both_ways_the_next_one_decides() -> None:
    row = row_of(INVITE + "---0.500 bob -> edge 486 Busy Here\n0.501 edge -> bob ACK", after_s=10)
    assert (row.outcome, row.code) == ("busy", 486)


def test_times_duration_and_reason_of_a_call() -> None:
    row = row_of(
        ANSWERED
        + """---
        12.000 alice -> edge  BYE
          Reason: Q.850;cause=16;text="Normal call clearing"
        12.010 edge -> alice  200
    """
    )
    assert row.duration_ms == pytest.approx(10_000, abs=2)
    assert row.answered_us - row.started_us == pytest.approx(2 * SECOND, abs=2000)
    assert row.ended_us - row.started_us == pytest.approx(12.01 * SECOND, abs=2000)
    assert row.reason == 'Q.850;cause=16;text="Normal call clearing"'
    assert not row.trouble
    assert (row.source, row.destination) == ("198.51.100.23:5060", "192.0.2.10:5060")
    assert sorted(row.addresses) == ["192.0.2.10", "198.51.100.23", "203.0.113.9"]
    assert row.agents == ["101"]


def test_a_long_silence_after_an_answered_challenge_decides_nothing() -> None:
    """Seen in the demo: twelve seconds of post-dial delay made the challenge of the first try the outcome."""
    ladder = """
    0.000  alice -> edge  INVITE sip:18660333777@acme.example  from=12103355787 sdp
    +.002  edge -> alice  407  auth=n1
    +.001  alice -> edge  ACK
    0.010  alice -> edge  INVITE sip:18660333777@acme.example  auth=n1 sdp
    +.001  edge -> bob    INVITE sip:18660333777@203.0.113.9
    12.00  bob -> edge    180 Ringing
    12.01  edge -> alice  180
    13.00  bob -> edge    200 OK  sdp
    13.01  edge -> alice  200
    """
    row = row_of(ladder)
    assert (row.outcome, row.code) == ("answered", 200)


def test_a_late_ringing_is_marked() -> None:
    row = row_of(INVITE + "---11.0 bob -> edge 180\n11.1 edge -> alice 180")
    assert row.trouble == Trouble.LATE_RINGING


def test_numbers_are_kept_in_every_role() -> None:
    row = row_of("""
        0.000  alice -> edge  INVITE sip:+1-866-033-3777@acme.example  from=anonymous sdp
          P-Asserted-Identity: "John" <sip:+12103355787@acme.example>, <tel:+1-210-335-5788>
          Diversion: <sip:4930111@acme.example>;reason=unconditional
          History-Info: <sip:4930222@acme.example>;index=1
          Remote-Party-ID: <sip:4930333@acme.example>;party=calling
          Contact: <sip:John.Doe@198.51.100.23>
          Proxy-Authorization: Digest username="u12103355787", realm="acme.example", nonce="1", uri="sip:x", response="2"
        +.001  edge -> core   INVITE sip:0018660333777@192.0.2.20
        +.001  core -> bob    INVITE sip:99918660333777@203.0.113.9
          P-Asserted-Identity: <sip:4930444@acme.example>
    """)
    assert row.numbers == {
        "12103355787": Role.ASSERTED, "12103355788": Role.ASSERTED, "4930111": Role.DIVERSION, "4930222": Role.HISTORY,
        "4930333": Role.REMOTE_PARTY, "john.doe": Role.CONTACT, "u12103355787": Role.AUTH_USER,
        "18660333777": Role.TO | Role.REQUEST_URI, "0018660333777": Role.REQUEST_URI,
        "99918660333777": Role.REQUEST_URI, "4930444": Role.ASSERTED,
    }  # fmt: skip
    assert row.caller == "+12103355787"


def test_keys_come_from_first_requests_and_transfers() -> None:
    rows = rows_of(
        ANSWERED
        + """---
        5.000  alice -> edge  REFER sip:18660333777@acme.example
          Refer-To: <sip:carol@acme.example>
          Referred-By: <sip:12103355787@acme.example>
        5.001  edge -> alice  202
        5.100  bob -> edge    INVITE sip:carol@acme.example leg=b new from=bob
          Referred-By: <sip:12103355787@acme.example>
          X-CID: a-call@acme.example
    """
    )
    first, second = sorted(rows, key=lambda row: row.started_us)
    assert "refer:12103355787@acme.example>carol" in first.keys & second.keys
    assert "cid:a-call@acme.example" in second.keys
