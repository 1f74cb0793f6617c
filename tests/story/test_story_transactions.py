"""Transactions hop by hop: what belongs together, and what came from what."""

from __future__ import annotations

from ringback.sessions.story import Session, Transaction
from told import told

PEOPLE = """
alice = 198.51.100.23:5060
edge  = 192.0.2.10:5060
core  = 192.0.2.20:5060
bob   = 203.0.113.9:5060
carol = 203.0.113.10:5060
"""


def only(session: Session, method: str) -> list[Transaction]:
    return [one for one in session.transactions if one.method == method]


def test_a_forwarded_call_is_a_transaction_on_each_hop_each_the_child_of_the_one_before() -> None:
    session = told(
        PEOPLE
        + """
0.00 alice -> edge INVITE sip:200@acme.example from=100
0.01 edge -> alice 100
0.02 edge -> core INVITE
0.03 core -> bob INVITE
0.10 bob -> core 180
0.11 core -> edge 180
0.12 edge -> alice 180
1.00 bob -> core 200
1.01 core -> edge 200
1.02 edge -> alice 200
1.03 alice -> edge ACK
1.04 edge -> core ACK
1.05 core -> bob ACK
"""
    )
    assert [one.parent for one in session.transactions] == [None, 0, 1]
    first = session.transactions[0]
    assert first.request is session.arrows[0]
    assert [arrow.sip.status for arrow in first.provisional] == [100, 180]
    assert first.code == 200
    assert [len(one.acks) for one in session.transactions] == [1, 1, 1]
    assert {arrow.transaction for arrow in session.arrows} == {0, 1, 2}
    assert (first.source, first.destination, first.cseq, first.in_dialog) == (
        "198.51.100.23:5060", "192.0.2.10:5060", 1, False,
    )  # fmt: skip


def test_a_challenge_and_the_second_try_are_two_transactions_with_an_ack_each_where_it_belongs() -> None:
    session = told(
        PEOPLE
        + """
0.00 alice -> edge INVITE sip:200@acme.example from=100
0.01 edge -> alice 407 auth=n
0.02 alice -> edge ACK
0.03 alice -> edge INVITE sip:200@acme.example auth=n
0.04 edge -> alice 200
0.05 alice -> edge ACK
"""
    )
    assert [(one.cseq, one.code, [ack.number for ack in one.acks]) for one in session.transactions] == [
        (1, 407, [3]), (2, 200, [6]),
    ]  # fmt: skip


def test_a_fork_is_two_children_of_one_transaction() -> None:
    session = told(
        PEOPLE
        + """
0.00 alice -> edge INVITE sip:200@acme.example from=100
0.01 edge -> bob INVITE
0.01 edge -> carol INVITE
0.10 bob -> edge 486
0.11 edge -> bob ACK
1.00 carol -> edge 200
1.01 edge -> alice 200
1.02 alice -> edge ACK
1.03 edge -> carol ACK
"""
    )
    assert [(one.destination, one.parent, one.code, len(one.acks)) for one in session.transactions] == [
        ("192.0.2.10:5060", None, 200, 1), ("203.0.113.10:5060", 0, 200, 1), ("203.0.113.9:5060", 0, 486, 1),
    ]  # fmt: skip


def test_a_cancel_is_tied_to_its_invite_and_to_the_cancel_before_it() -> None:
    session = told(
        PEOPLE
        + """
0.00 alice -> edge INVITE sip:200@acme.example from=100
0.01 edge -> bob INVITE
0.10 bob -> edge 180
0.11 edge -> alice 180
5.00 alice -> edge CANCEL
5.01 edge -> alice 200 for=CANCEL
5.02 edge -> bob CANCEL
5.03 bob -> edge 200 for=CANCEL
5.04 bob -> edge 487 for=INVITE
5.05 edge -> alice 487 for=INVITE
"""
    )
    invites, cancels = only(session, "INVITE"), only(session, "CANCEL")
    assert [one.cancelled_by for one in invites] == [one.index for one in cancels]
    assert cancels[1].parent == cancels[0].index
    assert [one.code for one in (*invites, *cancels)] == [487, 487, 200, 200]


def test_a_proxy_that_gives_up_on_its_own_cancels_without_a_parent() -> None:
    session = told(
        PEOPLE
        + """
0 alice -> edge INVITE sip:200@acme.example from=100
.01 edge -> bob INVITE
30 edge -> bob CANCEL
"""
    )
    (cancel,) = only(session, "CANCEL")
    assert cancel.parent is None
    assert [one.cancelled_by for one in only(session, "INVITE")] == [None, cancel.index]


def test_responses_without_their_request_are_a_transaction_all_the_same() -> None:
    session = told(
        PEOPLE
        + "0 alice -> edge INVITE sip:200@acme.example from=100 unseen\n.1 edge -> alice 180\n.2 edge -> alice 486"
    )
    (transaction,) = session.transactions
    assert transaction.request is None
    assert [arrow.sip.status for arrow in transaction.provisional] == [180]
    assert (transaction.code, transaction.source, transaction.destination) == (
        486,
        "198.51.100.23:5060",
        "192.0.2.10:5060",
    )


def test_a_stray_ack_belongs_to_no_transaction() -> None:
    session = told(
        PEOPLE
        + """
0 alice -> edge INVITE sip:200@acme.example from=100 unseen
.1 edge -> alice 200 unseen
.2 alice -> edge ACK
"""
    )
    assert session.transactions == []
    assert session.arrows[0].transaction is None


def test_the_ack_of_another_branch_is_not_taken_for_ones_own() -> None:
    """Of bob's branch only the ACK to his refusal was captured."""
    session = told(
        PEOPLE
        + """
0.00 alice -> edge INVITE sip:200@acme.example from=100
0.01 edge -> bob INVITE unseen
0.01 edge -> carol INVITE
0.10 bob -> edge 486 unseen
0.11 edge -> bob ACK
1.00 carol -> edge 200
1.01 edge -> alice 200
1.02 alice -> edge ACK
1.03 edge -> carol ACK
"""
    )
    carol = next(one for one in session.transactions if one.destination == "203.0.113.10:5060")
    assert [ack.destination for ack in carol.acks] == ["203.0.113.10:5060"]


def test_retransmissions_stand_with_their_transaction() -> None:
    session = told(
        PEOPLE
        + """
0 alice -> edge INVITE sip:200@acme.example from=100
.5,1.5 alice -> edge again INVITE
2 edge -> alice 200
2.5,3.5 edge -> alice again 200
4 alice -> edge ACK
"""
    )
    (transaction,) = session.transactions
    assert [arrow.number for arrow in transaction.requests] == [1, 2, 3]
    assert [arrow.number for arrow in transaction.finals] == [4, 5, 6]
    assert transaction.final is transaction.finals[0]


def test_senders_without_a_branch_are_told_apart_by_sent_by_and_cseq() -> None:
    """RFC 2543."""
    session = told(
        PEOPLE
        + """
0 alice -> edge INVITE sip:200@acme.example from=100
    Via: SIP/2.0/UDP 198.51.100.23:5060
.1 edge -> bob INVITE
    Via: SIP/2.0/UDP 192.0.2.10:5060;branch=0, SIP/2.0/UDP 198.51.100.23:5060
.2 bob -> edge 200
.3 edge -> alice 200
    Via: SIP/2.0/UDP 198.51.100.23:5060
9 alice -> edge BYE
    Via: SIP/2.0/UDP 198.51.100.23:5060
9.1 edge -> alice 200
"""
    )
    assert [(one.method, one.code, one.parent) for one in session.transactions] == [
        ("INVITE", 200, None), ("INVITE", 200, 0), ("BYE", 200, None),
    ]  # fmt: skip


def test_a_response_that_comes_back_another_way_finds_its_request() -> None:
    session = told(
        PEOPLE + "0 alice -> edge INVITE sip:200@acme.example from=100\n.1 edge -> alice 200 sport=5062 dport=5064"
    )
    assert [one.code for one in session.transactions] == [200]


def test_hold_and_transfer_stay_in_the_leg_as_transactions_of_the_dialog() -> None:
    session = told(
        PEOPLE
        + """
0 alice -> bob INVITE sip:200@acme.example from=100 sdp
.1 bob -> alice 200 sdp
.2 alice -> bob ACK
5 alice -> bob INVITE sdp=PCMU/sendonly
5.1 bob -> alice 200 sdp=PCMU/inactive
5.2 alice -> bob ACK
9 bob -> alice REFER
    Refer-To: <sip:300@acme.example>
9.1 alice -> bob 202
9.2 alice -> bob NOTIFY
9.3 bob -> alice 200
"""
    )
    assert len(session.legs) == 1
    assert [(one.method, one.in_dialog) for one in session.transactions] == [
        ("INVITE", False), ("INVITE", True), ("REFER", True), ("NOTIFY", True),
    ]  # fmt: skip
    assert session.outcome == "answered"


def test_a_reliable_provisional_response_comes_before_its_prack() -> None:
    session = told(
        PEOPLE
        + """
0 alice -> bob INVITE sip:200@acme.example from=100
.1 bob -> alice 183
    RSeq: 7
.1 alice -> bob PRACK
    RAck: 7 1 INVITE
.1 bob -> alice 200 for=PRACK
"""
    )
    assert [arrow.sip.status or arrow.sip.method for arrow in session.arrows] == ["INVITE", 183, "PRACK", 200]
