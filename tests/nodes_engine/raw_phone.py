"""A phone of plain bytes: what sipp would not send, such as the same credentials twice."""

from __future__ import annotations

import hashlib
import re
import secrets
import socket
from dataclasses import dataclass, field

from ringback.demo.cast import DOMAIN


@dataclass(frozen=True, slots=True)
class Response:
    code: int
    phrase: str
    text: str

    def header(self, name: str) -> str:
        found = re.search(rf"(?mi)^{name}:[ \t]*(.*?)\r?$", self.text)
        return found[1] if found else ""


@dataclass
class RawPhone:
    address: str
    edge: str
    number: str = "12105550100"
    called: str = "12103355787"
    call_id: str = ""
    _cseq: int = 0
    _request: list[str] = field(default_factory=list)
    _socket: socket.socket = field(default_factory=lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    def __post_init__(self) -> None:
        self._socket.bind((self.address, 0))
        self._socket.settimeout(30)
        self.call_id = secrets.token_hex(8)
        self._uri = f"sip:{self.called and f'{self.called}@'}{DOMAIN}"

    def __enter__(self) -> RawPhone:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def invite(self, *headers: str, caller: str | None = "") -> Response:
        """An INVITE, up to its final response."""
        self.ask(*headers, caller=caller)
        return self.final()

    def ask(self, *headers: str, caller: str | None = "", method: str = "INVITE", to_tag: str = "") -> None:
        """An INVITE, or another request; `final` waits for what comes of it. `caller`: "" is its number, None nobody."""
        self._cseq += 1
        me = "{}:{}".format(*self._socket.getsockname())
        self._request = [
            f"{method} {self._uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {me};rport;branch=z9hG4bK{secrets.token_hex(6)}",
            f"From: <sip:{'' if caller is None else f'{caller or self.number}@'}{DOMAIN}>;tag=raw",
            f"Call-ID: {self.call_id}",
            "Max-Forwards: 70",
        ]
        self._send(*self._request, f"To: <{self._uri}>{to_tag and f';tag={to_tag}'}", f"CSeq: {self._cseq} {method}",
                   f"Contact: <sip:{self.number}@{me}>", *headers)  # fmt: skip

    def final(self) -> Response:
        """To the request sent last. A refused INVITE is acknowledged."""
        while True:
            text = self._socket.recv(65535).decode(errors="surrogateescape")
            response = Response(int(text[8:11]), text[12 : text.index("\r\n")], text)
            cseq, method = response.header("CSeq").split()
            if response.code >= 200 and int(cseq) == self._cseq and method != "CANCEL":
                break
        if response.code >= 300 and response.header("CSeq").endswith("INVITE"):
            self._send(f"ACK {self._uri} SIP/2.0", *self._request[1:], f"To: {response.header('To')}",
                       f"CSeq: {self._cseq} ACK")  # fmt: skip
        return response

    def cancel(self) -> None:
        """Of the INVITE sent last, which is not answered yet; until the edge has got it."""
        self._send(f"CANCEL {self._uri} SIP/2.0", *self._request[1:], f"To: <{self._uri}>",
                   f"CSeq: {self._cseq} CANCEL")  # fmt: skip
        while b"CANCEL" not in self._socket.recv(65535):
            pass

    def request(self, method: str) -> Response:
        self.ask(method=method)
        return self.final()

    def answer(self, challenge: Response, *, password: str = "correct-horse", count: int = 1) -> str:
        """The Proxy-Authorization header for a challenge with qop=auth (RFC 7616, 3.4)."""
        given = dict(re.findall(r'(\w+)="([^"]*)"', challenge.header("Proxy-Authenticate")))

        def digest(*parts: str) -> str:
            return hashlib.md5(":".join(parts).encode()).hexdigest()

        nc, cnonce = f"{count:08x}", "0a4f113b"
        proof = digest(
            digest(self.number, given["realm"], password),
            given["nonce"],
            nc,
            cnonce,
            "auth",
            digest("INVITE", self._uri),
        )
        return (
            f'Proxy-Authorization: Digest username="{self.number}", realm="{given["realm"]}", nonce="{given["nonce"]}", '
            f'uri="{self._uri}", response="{proof}", algorithm=MD5, qop=auth, nc={nc}, cnonce="{cnonce}"'
        )

    def _send(self, *lines: str) -> None:
        text = "\r\n".join([*lines, "Content-Length: 0", "", ""])
        self._socket.sendto(text.encode(errors="surrogateescape"), (self.edge, 5060))
