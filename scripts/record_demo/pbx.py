"""A small back-to-back user agent: takes a call, makes a second one with a Call-ID of its own, and joins the two.

It stands for the PBXs and application servers that make two legs of what a person calls one call. UDP only, one
thread, no retransmission of its own (on loopback nothing is lost).
"""

from __future__ import annotations

import re
import secrets
import socket
import threading
from dataclasses import dataclass, field
from typing import Literal

from scripts.record_demo.dialogue import sdp

Mark = Literal["suffix", "x-cid"]
SOFTWARE = "Asterisk PBX 20.5.0"


@dataclass(frozen=True, slots=True)
class Forward:
    """Where calls to a number go, and how the second leg names the first: by the suffix of its Call-ID or by X-CID."""

    target: str
    mark: Mark


@dataclass(slots=True)
class _Call:
    forward: Forward
    invite: str  # as it came in
    outer_source: tuple[str, int]
    outer_tag: str
    inner_call_id: str
    inner_tag: str
    inner_to: str = ""  # To with the callee's tag, once answered
    inner_route: list[str] = field(default_factory=list)
    inner_target: str = ""


class Pbx:
    """Answers on `address`:5060 until left; sends its second legs to `proxy`:5060."""

    def __init__(self, address: str, proxy: str, forwards: dict[str, Forward]) -> None:
        self._address = address
        self._proxy = (proxy, 5060)
        self._forwards = forwards
        self._calls: dict[str, _Call] = {}  # by either Call-ID
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 5060))
        self._socket.settimeout(0.2)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pbx")
        self.second_legs: dict[str, str] = {}  # Call-ID of a first leg -> of its second

    def __enter__(self) -> Pbx:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                data, source = self._socket.recvfrom(65535)
            except TimeoutError:
                continue
            text = data.decode()
            call = self._calls.get(_header(text, "Call-ID"))
            if text.startswith("SIP/2.0"):
                if call:
                    self._response(call, text)
            elif text.startswith("INVITE") and call is None:
                self._take(text, source)
            elif text.startswith("BYE") and call:
                self._hang_up(call, text, source)

    def _take(self, invite: str, source: tuple[str, int]) -> None:
        forward = self._forwards[_uri_user(invite.split(" ", 2)[1])]
        call_id, seed = _header(invite, "Call-ID"), secrets.token_hex(5)
        inner_id = f"{call_id}_b2b-1" if forward.mark == "suffix" else f"{secrets.token_hex(8)}@{self._address}"
        call = _Call(forward, invite, source, f"{seed}p", inner_id, f"{seed}q")
        self._calls[call_id] = self._calls[inner_id] = call
        self.second_legs[call_id] = inner_id
        self._reply(call, "100 Trying")
        headers = [f"X-CID: {call_id}"] if forward.mark == "x-cid" else []
        self._request(
            call,
            "INVITE",
            1,
            [*headers, f"Diversion: <sip:{_uri_user(invite.split(' ', 2)[1])}@{self._address}>;reason=unconditional"],
            sdp(self._address),
        )

    def _response(self, call: _Call, text: str) -> None:
        status, method = int(text.split(" ", 2)[1]), _header(text, "CSeq").split()[1]
        if method != "INVITE" or status == 100:
            return
        if 200 <= status < 300:
            call.inner_to = _header(text, "To")
            call.inner_target = _uri(_header(text, "Contact"))
            call.inner_route = list(reversed(_headers(text, "Record-Route")))
            self._request(call, "ACK", 1)
            self._reply(call, "200 OK", sdp(self._address))
        elif status >= 300:
            self._request(call, "ACK", 1, branch="1")
            self._reply(call, text.split("\r\n")[0].removeprefix("SIP/2.0 "))
        else:
            self._reply(call, text.split("\r\n")[0].removeprefix("SIP/2.0 "))

    def _hang_up(self, call: _Call, bye: str, source: tuple[str, int]) -> None:
        self._send(_answer(bye, "200 OK", SOFTWARE), source)
        self._request(call, "BYE", 2)

    def _reply(self, call: _Call, status: str, body: str = "") -> None:
        tag = "" if status.startswith("100") else call.outer_tag
        self._send(_answer(call.invite, status, SOFTWARE, tag, self._address, body), call.outer_source)

    def _request(
        self, call: _Call, method: str, cseq: int, headers: list[str] | None = None, body: str = "", branch: str = ""
    ) -> None:
        """On the second leg."""
        to = f"<sip:{call.forward.target}@{self._proxy[0]}>"
        caller = _header(call.invite, "From").split(";tag=")[0]
        self._send(
            _message(
                f"{method} {call.inner_target or to.strip('<>')} SIP/2.0",
                [
                    f"Via: SIP/2.0/UDP {self._address}:5060;branch=z9hG4bK{call.inner_tag}{branch or method}",
                    "Max-Forwards: 69",
                    *(f"Route: {route}" for route in call.inner_route),
                    f"From: {caller};tag={call.inner_tag}",
                    f"To: {call.inner_to or to}",
                    f"Call-ID: {call.inner_call_id}",
                    f"CSeq: {cseq} {method}",
                    f"Contact: <sip:{call.forward.target}@{self._address}:5060>",
                    f"User-Agent: {SOFTWARE}",
                    *(headers or []),
                ],
                body,
            ),
            self._proxy,
        )

    def _send(self, text: str, target: tuple[str, int]) -> None:
        self._socket.sendto(text.encode(), target)


def _answer(request: str, status: str, software: str, tag: str = "", contact: str = "", body: str = "") -> str:
    to = _header(request, "To")
    return _message(
        f"SIP/2.0 {status}",
        [
            *(f"Via: {via}" for via in _headers(request, "Via")),
            *(f"Record-Route: {route}" for route in _headers(request, "Record-Route")),
            f"From: {_header(request, 'From')}",
            f"To: {to};tag={tag}" if tag and ";tag=" not in to else f"To: {to}",
            f"Call-ID: {_header(request, 'Call-ID')}",
            f"CSeq: {_header(request, 'CSeq')}",
            *([f"Contact: <sip:{contact}:5060>"] if contact else []),
            f"Server: {software}",
        ],
        body,
    )


def _message(start: str, headers: list[str], body: str) -> str:
    wire = body.replace("\n", "\r\n")
    kind = ["Content-Type: application/sdp"] if body else []
    return "\r\n".join([start, *headers, *kind, f"Content-Length: {len(wire)}", "", wire])


def _headers(text: str, name: str) -> list[str]:
    return re.findall(rf"^{name}: ?(.*?)\r$", text, re.MULTILINE | re.IGNORECASE)


def _header(text: str, name: str) -> str:
    return (_headers(text, name) or [""])[0]


def _uri(value: str) -> str:
    found = re.search(r"<([^>]+)>", value)
    return found[1] if found else value


def _uri_user(uri: str) -> str:
    return uri.removeprefix("sip:").split("@")[0]
