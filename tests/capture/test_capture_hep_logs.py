"""Log lines, RTCP and quality reports that travel over HEP."""

from __future__ import annotations

import struct

import orjson
import pytest
from wire import T0, sip

from ringback.sessions.capture.hep import SIP, decode, encode
from ringback.sessions.capture.hep_logs import MAX_FIELDS, MAX_TEXT, stream_report, to_log
from ringback.sessions.story import Hop, LogLine

HOP = Hop("udp", "192.0.2.1", 40000, "198.51.100.2", 40002, "101")

RTCP_JSON = {
    "sender_information": {"ntp_timestamp_sec": 3838464001, "rtp_timestamp": 1600, "packets": 250, "octets": 40000},
    "ssrc": 1234,
    "type": 200,
    "report_count": 1,
    "report_blocks": [
        {
            "source_ssrc": 5678,
            "fraction_lost": 64,
            "packets_lost": 12,
            "highest_seq_no": 900,
            "ia_jitter": 80,
            "lsr": 0,
        }
    ],
    "sdes_ssrc": 1234,
}


def line_of(payload: bytes | object, payload_type: int, **kwargs: str) -> LogLine:
    data = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    line = to_log(decode(encode(T0, HOP, data, payload_type=payload_type, **kwargs), 0))  # type: ignore[arg-type]
    assert line is not None
    return line


def test_a_log_line_of_kamailio() -> None:
    line = line_of(b"call from 100 to 200\n", 0x64, correlation="abc@192.0.2.1")
    assert (line.time_us, line.kind, line.node, line.text, line.call_id) == (
        T0, "node", "101", "call from 100 to 200", "abc@192.0.2.1",
    )  # fmt: skip


def test_the_name_of_an_agent_beats_its_number() -> None:
    assert line_of(b"x", 0x64, agent_name="edge-1").node == "edge-1"


@pytest.mark.parametrize(
    "text", [b"dropped Call-ID: abc@192.0.2.1, bye", b"[callid=abc@192.0.2.1] x", b'call_id="abc@192.0.2.1"']
)
def test_a_call_id_told_in_the_text(text: bytes) -> None:
    assert line_of(text.replace(b"call_id", b"callid"), 0x64).call_id == "abc@192.0.2.1"


@pytest.mark.parametrize(
    "name", ["callid", "call_id", "CALL_ID", "Call-ID", "sip_call_id", "RTP_SIP_CALL_ID", "cid", "CORRELATION_ID"]
)
def test_a_call_id_told_in_json(name: str) -> None:
    assert line_of({"x": 1, name: "abc@192.0.2.1"}, 0x22).call_id == "abc@192.0.2.1"


def test_rtcp_as_json() -> None:
    line = line_of(RTCP_JSON, 0x05, correlation="abc@192.0.2.1")
    assert line.kind == "media"
    assert (line.fields["lost"], line.fields["loss_percent"], line.fields["jitter_ms"]) == ("12", "25.00", "10.00")
    assert line.fields["ssrc"] == "5678"
    assert line.fields["sender_information.packets"] == "250"
    assert line.text == "Quality report: jitter ms 10.00, lost 12, loss % 25.00"
    report = stream_report(line)
    assert report is not None
    assert (report.ssrc, report.lost, report.loss_percent, report.jitter_ms, report.from_report) == (
        5678,
        12,
        25.0,
        10.0,
        True,
    )
    assert (report.source, report.destination, report.leg) == (
        "192.0.2.1:40000",
        "198.51.100.2:40002",
        "abc@192.0.2.1",
    )


def test_rtcp_in_binary() -> None:
    block = struct.pack(">IIIIII", 5678, 64 << 24 | 12, 900, 80, 0, 0)
    line = line_of(struct.pack(">BBHI", 0x81, 201, 7, 99) + block, 0x05)
    assert (line.fields["lost"], line.fields["loss_percent"], line.fields["jitter_ms"]) == ("12", "25.00", "10.00")


def test_a_quality_report_of_an_rtp_agent() -> None:
    figures = {"MOS": 4.11, "TOTAL_PK": 1500, "PACKET_LOSS": 3, "MEAN_JITTER": 1.5, "MAX_JITTER": 9}
    line = line_of({"CORRELATION_ID": "a@b", "CODEC_NAME": "PCMA"} | figures, 0x23)
    report = stream_report(line)
    assert report is not None
    assert (report.mos, report.packets, report.lost, report.jitter_ms, report.max_jitter_ms, report.codec) == (
        4.11, 1500, 3, 1.5, 9.0, "PCMA",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("written", "mos"), [(4.2, 4.2), ("4.2", 4.2), (42, 4.2), (420, 4.2), (0, None), (9999, None), ("x", None)]
)
def test_mos_is_on_one_scale_whatever_the_sender_writes(written: object, mos: float | None) -> None:
    report = stream_report(line_of({"MOS": written, "JITTER": 1}, 0x22))
    assert report is not None
    assert report.mos == mos


def test_a_report_without_figures_is_no_stream_report() -> None:
    assert stream_report(line_of({"hello": "world"}, 0x22)) is None
    assert stream_report(line_of(b"MOS 4.2", 0x64)) is None


def test_json_that_is_broken_is_text() -> None:
    assert line_of(b'{"MOS": ', 0x22).text == '{"MOS":'


def test_json_of_a_type_nobody_knows_is_kept() -> None:
    assert line_of({"callid": "a@b"}, 0x77).kind == "report"


def test_sip_and_what_is_neither_text_nor_json_is_none_of_ours() -> None:
    assert to_log(decode(encode(T0, HOP, sip(), payload_type=SIP), 0)) is None
    assert to_log(decode(encode(T0, HOP, b"\1\2\3", payload_type=0x77), 0)) is None


def test_text_and_fields_are_bounded() -> None:
    assert len(line_of(b"x" * 60_000, 0x64).text) == MAX_TEXT
    fields = line_of({f"field{number}": "v" * 900 for number in range(70)}, 0x22).fields
    assert len(fields) == MAX_FIELDS + 2, "with source and destination"
    assert max(map(len, fields.values())) <= 512


def test_json_as_deep_as_it_gets_does_no_harm() -> None:
    assert line_of(b'{"a":' * 5000 + b"1" + b"}" * 5000, 0x22).kind == "media"
