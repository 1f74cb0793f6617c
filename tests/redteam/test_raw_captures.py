"""Captures as other hands make them, explained. One test for each answer that was once wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from raw import Capture, explained, ids, request, response, sdp

PHONE, OTHER, PBX = ("192.0.2.10", 5060), ("192.0.2.77", 5060), ("203.0.113.1", 5060)
Out = pytest.CaptureFixture[bytes]


def _invite() -> str:
    return request(
        "INVITE", "sip:2002@pbx.example", "192.0.2.10:5060;a1", call="c1@h",
        more="Contact: <sip:1001@192.0.2.10>", body=sdp("192.0.2.10", 40000),
    )  # fmt: skip


def _in_dialog(method: str, branch: str, cseq: int) -> str:
    to = "<sip:2002@pbx.example>;tag=b1"
    return request(method, "sip:2002@203.0.113.1", f"192.0.2.10:5060;{branch}", call="c1@h", cseq=cseq, callee=to)


def _call(capture: Capture, *, answer: bool = True, seconds: float = 20.0) -> None:
    invite, bye = _invite(), _in_dialog("BYE", "by", 2)
    capture.udp(0, PHONE, PBX, invite)
    capture.udp(0.01, PBX, PHONE, response(invite, "100 Trying"))
    capture.udp(0.1, PBX, PHONE, response(invite, "180 Ringing", tag="b1"))
    if answer:
        ok = response(
            invite, "200 OK", tag="b1", more="Contact: <sip:2002@203.0.113.1>", body=sdp("203.0.113.1", 30000)
        )
        capture.udp(2, PBX, PHONE, ok)
    capture.udp(2.02, PHONE, PBX, _in_dialog("ACK", "ak", 1))
    capture.udp(2 + seconds, PHONE, PBX, bye)
    capture.udp(2.02 + seconds, PBX, PHONE, response(bye, "200 OK"))


def _register(capture: Capture, at: float, phone: tuple[str, int], call: str, cseq: int, listed: str = "") -> None:
    contact = f"<sip:1001@{phone[0]}:5060>"
    register = request(
        "REGISTER", "sip:pbx.example", f"{phone[0]}:5060;{at}", call=call, cseq=cseq,
        caller="<sip:1001@pbx.example>;tag=f1", callee="<sip:1001@pbx.example>", more=f"Contact: {contact}\nExpires: 3600",
    )  # fmt: skip
    capture.udp(at, phone, PBX, register)
    capture.udp(
        at + 0.02,
        PBX,
        phone,
        response(register, "200 OK", tag="r", more=f"Contact: {listed or contact};expires=3600"),
    )


def test_a_408_after_nothing_but_100_is_a_call_that_went_no_further(tmp_path: Path, capsysbinary: Out) -> None:
    capture, invite = Capture(), _invite()
    capture.udp(0, PHONE, PBX, invite)
    capture.udp(0.01, PBX, PHONE, response(invite, "100 Trying"))
    capture.udp(32, PBX, PHONE, response(invite, "408 Request Timeout", tag="b1"))
    [session] = explained(capture.save(tmp_path / "a.pcap"), capsysbinary)
    assert (session["outcome"], session["final_code"], ids(session)) == ("failed", 408, ["stuck-after-trying"])


def test_a_408_at_once_after_100_is_not_called_a_long_silence(tmp_path: Path, capsysbinary: Out) -> None:
    capture, invite = Capture(), _invite()
    capture.udp(0, PHONE, PBX, invite)
    capture.udp(0.01, PBX, PHONE, response(invite, "100 Trying"))
    capture.udp(0.3, PBX, PHONE, response(invite, "408 Request Timeout", tag="b1"))
    [session] = explained(capture.save(tmp_path / "a.pcap"), capsysbinary)
    assert ids(session) == ["no-response"]


def test_a_call_that_was_hung_up_is_not_in_progress_where_its_answer_is_missing(
    tmp_path: Path, capsysbinary: Out
) -> None:
    capture = Capture()
    _call(capture, answer=False)
    [session] = explained(capture.save(tmp_path / "a.pcap"), capsysbinary)
    assert (session["outcome"], ids(session)) == ("incomplete", ["capture-incomplete"])


def test_what_hangs_up_a_second_fork_does_not_end_the_call(tmp_path: Path, capsysbinary: Out) -> None:
    capture, invite = Capture(), _invite()
    capture.udp(0, PHONE, PBX, invite)
    capture.udp(0.1, PBX, PHONE, response(invite, "180 Ringing", tag="b1"))
    for tag, at, until in (("b1", 3.0, 30.0), ("c1", 3.1, 3.2)):
        ok = response(
            invite, "200 OK", tag=tag, more="Contact: <sip:2002@203.0.113.1>", body=sdp("203.0.113.1", 30000)
        )
        capture.udp(at, PBX, PHONE, ok)
        capture.udp(at + 0.02, PHONE, PBX, _in_dialog("ACK", f"ak{tag}", 1).replace("b1\r", f"{tag}\r"))
        bye = _in_dialog("BYE", f"by{tag}", 2).replace("tag=b1\r", f"tag={tag}\r")
        capture.udp(until, PHONE, PBX, bye)
        capture.udp(until + 0.02, PBX, PHONE, response(bye, "200 OK"))
    [session] = explained(capture.save(tmp_path / "a.pcap"), capsysbinary)
    assert ids(session) == ["normal"]
    assert session["legs"][0]["talk_s"] == 27.0


@pytest.mark.parametrize("answer", ["478 Unresolvable destination (478/SL)", "477 Send failed (477/TM)"])
def test_what_kamailio_says_of_a_next_hop_it_cannot_reach_is_no_route(
    tmp_path: Path, capsysbinary: Out, answer: str
) -> None:
    capture, invite = Capture(), _invite()
    capture.udp(0, PHONE, PBX, invite)
    capture.udp(0.1, PBX, PHONE, response(invite, answer, tag="k1"))
    [session] = explained(capture.save(tmp_path / "a.pcap"), capsysbinary)
    assert (session["outcome"], ids(session)) == ("failed", ["no-route"])


def test_two_phones_that_push_each_other_out_are_one_story(tmp_path: Path, capsysbinary: Out) -> None:
    capture = Capture()
    for turn in range(5):
        _register(capture, turn * 60, (PHONE, OTHER)[turn % 2], f"device{turn % 2}@h", turn // 2 + 1)
    [session] = explained(capture.save(tmp_path / "a.pcap"), capsysbinary)
    assert session["call_ids"] == ["device0@h", "device1@h"]
    assert [link["confidence"] for link in session["links"]] == [0.8]
    assert ids(session) == ["registrations-overwrite"]


def test_two_phones_that_both_stay_registered_are_two_healthy_sessions(tmp_path: Path, capsysbinary: Out) -> None:
    capture = Capture()
    both = ", ".join(f"<sip:1001@{phone[0]}:5060>" for phone in (PHONE, OTHER))
    for turn in range(5):
        _register(capture, turn * 60, (PHONE, OTHER)[turn % 2], f"device{turn % 2}@h", turn // 2 + 1, both)
    sessions = explained(capture.save(tmp_path / "a.pcap"), capsysbinary)
    assert [ids(session) for session in sessions] == [["normal"], ["normal"]]


def test_a_phone_that_replaces_another_for_good_is_no_quarrel(tmp_path: Path, capsysbinary: Out) -> None:
    capture = Capture()
    _register(capture, 0, PHONE, "old@h", 1)
    for turn in range(3):
        _register(capture, 60 + turn * 60, OTHER, "new@h", turn + 1)
    sessions = explained(capture.save(tmp_path / "a.pcap"), capsysbinary)
    assert [ids(session) for session in sessions] == [["normal"], ["normal"]]


def test_a_registrar_that_sends_elsewhere_redirects(tmp_path: Path, capsysbinary: Out) -> None:
    capture = Capture()
    register = request(
        "REGISTER", "sip:pbx.example", "192.0.2.10:5060;1", call="r@h", more="Contact: <sip:1001@192.0.2.10>"
    )
    capture.udp(0, PHONE, PBX, register)
    capture.udp(
        0.1, PBX, PHONE, response(register, "302 Moved Temporarily", tag="r", more="Contact: <sip:edge2.example>")
    )
    [session] = explained(capture.save(tmp_path / "a.pcap"), capsysbinary)
    assert (session["outcome"], ids(session)) == ("redirected", ["redirected"])


def test_an_event_package_that_nobody_knows_is_no_malformed_request(tmp_path: Path, capsysbinary: Out) -> None:
    capture = Capture()
    subscribe = request(
        "SUBSCRIBE", "sip:2002@pbx.example", "192.0.2.10:5060;1", call="s@h", more="Event: line-seize\nExpires: 60"
    )
    capture.udp(0, PHONE, PBX, subscribe)
    capture.udp(0.1, PBX, PHONE, response(subscribe, "489 Bad Event", tag="r", more="Allow-Events: presence, dialog"))
    [session] = explained(capture.save(tmp_path / "a.pcap"), capsysbinary)
    assert ids(session) == ["method-not-supported"]
    assert "presence, dialog" in session["issues"][0]["description"]


def test_packets_that_come_late_and_out_of_order_are_jitter(tmp_path: Path, capsysbinary: Out) -> None:
    capture = Capture()
    _call(capture)
    capture.rtp(2.1, 19, ("192.0.2.10", 40000), ("203.0.113.1", 30000), shake=0.09)
    capture.rtp(2.1, 19, ("203.0.113.1", 30000), ("192.0.2.10", 40000))
    [session] = explained(capture.save(tmp_path / "a.pcap"), capsysbinary)
    assert ids(session) == ["poor-quality"]
    assert "192.0.2.10:40000" in session["issues"][0]["description"]


def test_a_probe_without_a_name_is_still_told_apart(tmp_path: Path, capsysbinary: Out) -> None:
    capture = Capture()
    _call(capture)
    capture.frames += [(at - 5, 1, frame) for at, _, frame in capture.frames]
    path = capture.save(tmp_path / "a.pcapng")
    [session] = explained(path, capsysbinary)
    assert (session["messages"], session["arrows"], session["retransmissions"]) == (14, 7, 0)
    [note] = session["notes"]
    assert note.startswith("The clocks of the first capture interface and 203.0.113.1:5060 are 5 s apart")


def test_a_copy_that_lost_a_fragment_is_told_by_what_is_left_of_it(tmp_path: Path, capsysbinary: Out) -> None:
    capture = Capture()
    invite = _invite().replace("Max-Forwards", f"X-Long: {'a' * 1600}\r\nMax-Forwards")
    capture.fragments(0, PHONE, PBX, invite, lose=1)
    capture.fragments(0.5, PHONE, PBX, invite)
    capture.udp(0.6, PBX, PHONE, response(invite, "486 Busy Here", tag="b1"))
    [session] = explained(capture.save(tmp_path / "a.pcap"), capsysbinary)
    assert ids(session) == ["callee-busy", "message-truncated"]
    assert session["issues"][1]["evidence"] == [{"message": 1, "why": "the first 1,472 bytes of it"}]
