"""A sipp scenario from steps: `phone.call()`, `phone.answered()`, `phone.hang_up()`.

sipp's built-in scenarios neither record routes nor authenticate, and one XML file a behaviour would repeat every
header fifty times. A `Side` is one sipp process: its methods append steps, `xml()` is what sipp reads. Both sides of a
call are written together, so each knows the other's tag beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from xml.sax.saxutils import escape

from ringback.demo.cast import DOMAIN

PASSWORD = "correct-horse"
ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, NOTIFY, REFER, MESSAGE, UPDATE, INFO, PRACK"
Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]


def sdp(
    address: str,
    *,
    codecs: str = "0 8 101",
    direction: Direction = "sendrecv",
    version: int = 1,
    port: int = 16384,
    profile: str = "RTP/AVP",
    fax: bool = False,
) -> str:
    """A session description. `codecs` are static payload types; 101 is telephone-event."""
    names = {"0": "PCMU/8000", "8": "PCMA/8000", "9": "G722/8000", "18": "G729/8000", "101": "telephone-event/8000"}
    lines = ["v=0", f"o=- 20261122 {version} IN IP4 {address}", "s=-", f"c=IN IP4 {address}", "t=0 0"]
    if fax:
        return "\n".join([*lines, f"m=image {port} udptl t38", "a=T38FaxVersion:0", "a=T38MaxBitRate:14400"]) + "\n"
    lines.append(f"m=audio {port} {profile} {codecs}")
    lines += [f"a=rtpmap:{number} {names[number]}" for number in codecs.split()]
    if "SAVP" in profile:
        lines.append("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz")
    return "\n".join([*lines, "a=ptime:20", f"a={direction}"]) + "\n"


@dataclass(frozen=True, slots=True)
class Party:
    """Who stands at one end."""

    number: str
    address: str  # where its socket is
    software: str  # User-Agent or Server
    name: str = ""
    told_address: str = ""  # what it writes of itself, where that differs: a phone behind NAT

    @property
    def host(self) -> str:
        return self.told_address or self.address

    def uri(self) -> str:
        return f"<sip:{self.number}@{DOMAIN}>"

    def display(self) -> str:
        return f'"{self.name}" {self.uri()}' if self.name else self.uri()


@dataclass(slots=True)
class Side:
    """One end of a leg. The calling end makes requests; the called end answers them; both may speak within the dialog."""

    me: Party
    peer: Party
    calls: bool
    seed: str  # hex, one a leg; in every tag and branch
    call_id: str
    starts_after_s: float = 0.0
    transport: Literal["UDP", "TCP"] = "UDP"
    password: str = PASSWORD
    max_forwards: int = 70
    media: str = "0 8 101"  # codecs it offers and accepts
    port: int = 5060
    peer_cseq: int = 2  # of the INVITE that reaches the called end: 2 after a challenge
    _steps: list[str] = field(default_factory=list)
    _cseq: int = 0
    _branch: int = 0

    def xml(self) -> str:
        head = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE scenario SYSTEM "sipp.dtd">\n'
        return (
            f'{head}<scenario name="{escape(self.me.name or self.me.number)}">\n{"".join(self._steps)}</scenario>\n'
        )

    # What the calling end does.

    def request(
        self,
        method: str,
        *,
        headers: tuple[str, ...] = (),
        body: str = "",
        body_type: str = "application/sdp",
        uri: str = "",
        credentials: bool = False,
        resend: bool = True,
    ) -> None:
        """A request outside a dialog."""
        self._cseq += 1
        self._branch += 1
        auth = (f"[authentication username={self.me.number} password={self.password}]",) if credentials else ()
        to = self.me.uri() if method == "REGISTER" else self.peer.uri()
        self._send(
            f"{method} {uri or f'sip:{self.peer.number}@{DOMAIN}'} SIP/2.0",
            self._via(),
            f"Max-Forwards: {self.max_forwards}",
            f"From: {self.me.display()};tag={self._tag(self.calls)}",
            f"To: {to}",
            f"CSeq: {self._cseq} {method}",
            self._contact(),
            f"User-Agent: {self.me.software}",
            f"Allow: {ALLOW}",
            *auth,
            *headers,
            body=body,
            body_type=body_type,
            resend=resend,
        )

    def call(self, *, challenged: bool = True, offer: str | None = None, headers: tuple[str, ...] = ()) -> None:
        """INVITE; where the proxy challenges, ACK and INVITE with credentials."""
        body = sdp(self.me.host, codecs=self.media) if offer is None else offer
        self.request("INVITE", headers=headers, body=body)
        if challenged:
            self.expect(100, optional=True)
            self.expect(407, challenge=True)
            self.ack_refusal()
            self.request("INVITE", headers=headers, body=body, credentials=True)

    def progress(self) -> None:
        """Whatever is provisional."""
        for status in (100, 180, 183):
            self.expect(status, optional=True)

    def answered(self, *, ack: bool = True) -> None:
        self.progress()
        self.expect(200, routes=True)
        if ack:
            self.ack()

    def refused(self, status: int) -> None:
        self.progress()
        self.expect(status)
        self.ack_refusal()

    def ack_refusal(self) -> None:
        """ACK to a final response other than 2xx: the INVITE's own branch (RFC 3261 section 17.1.1.3)."""
        self._send(
            f"ACK sip:{self.peer.number}@{DOMAIN} SIP/2.0",
            self._via(),
            f"Max-Forwards: {self.max_forwards}",
            f"From: {self.me.display()};tag={self._tag(self.calls)}",
            "[last_To:]",
            f"CSeq: {self._cseq} ACK",
            resend=False,
        )

    def cancel(self) -> None:
        """CANCEL and the end of the INVITE."""
        self.send_cancel()
        self.expect(200)
        self.expect(487)
        self.ack_refusal()

    def send_cancel(self) -> None:
        self._send(
            f"CANCEL sip:{self.peer.number}@{DOMAIN} SIP/2.0",
            self._via(),
            f"Max-Forwards: {self.max_forwards}",
            f"From: {self.me.display()};tag={self._tag(self.calls)}",
            f"To: {self.peer.uri()}",
            f"CSeq: {self._cseq} CANCEL",
        )

    # What the called end does.

    def receive(self, method: str, *, routes: bool = False, keep_vias: int = 0) -> None:
        """`keep_vias`: how many Via headers to remember, for a response to this request after another one came."""
        attributes = f'request="{method}"' + ' rrs="true"' * routes
        keep = "".join(
            f'<ereg regexp=".*" search_in="hdr" header="Via:" occurrence="{n}" assign_to="via{n}"/>'
            for n in range(1, keep_vias + 1)
        )
        self._steps.append(f"  <recv {attributes}>{f'<action>{keep}</action>' if keep else ''}</recv>\n")

    def reply(
        self,
        status: int,
        phrase: str,
        *,
        headers: tuple[str, ...] = (),
        body: str = "",
        resend: bool = False,
        in_dialog: bool = False,
    ) -> None:
        """A response to the request received last."""
        tag = "" if in_dialog or status == 100 else f";tag={self._tag(self.calls)}"
        self._send(
            f"SIP/2.0 {status} {phrase}",
            "[last_Via:]",
            *(("[last_Record-Route:]",) if not in_dialog and 100 < status < 300 else ()),
            "[last_From:]",
            f"[last_To:]{tag}",
            "[last_CSeq:]",
            *((self._contact(),) if 100 < status < 300 else ()),
            f"Server: {self.me.software}",
            *headers,
            body=body,
            resend=resend,
        )

    def rings(self, seconds: float = 0.4, *, keep_vias: int = 0) -> None:
        """Takes the call, says 100, and after `seconds` 180."""
        self.receive("INVITE", routes=True, keep_vias=keep_vias)
        self.reply(100, "Trying")
        self.wait(seconds)
        self.reply(180, "Ringing")

    def answers(
        self, after_s: float = 1.5, *, answer: str | None = None, headers: tuple[str, ...] = (), acked: bool = True
    ) -> None:
        """200, sent again until its ACK; where no ACK will come, for the 32 s of RFC 3261 section 13.3.1.4."""
        self.wait(after_s)
        body = sdp(self.me.host, codecs=self.media) if answer is None else answer
        if acked:
            self.reply(200, "OK", headers=headers, body=body, resend=True)
            self.receive("ACK")
            return
        for pause_s in (0.5, 1, 2, 4, 4, 4, 4, 4, 4, 4, 0.5):
            self.reply(200, "OK", headers=headers, body=body)
            self.wait(pause_s)

    def refuses(self, status: int, phrase: str, *headers: str, after_s: float = 0.15) -> None:
        self.receive("INVITE")
        self.reply(100, "Trying")
        self.wait(after_s)
        self.refuse_now(status, phrase, *headers)

    def refuse_now(self, status: int, phrase: str, *headers: str) -> None:
        """The final response to an INVITE that was received before."""
        self.reply(status, phrase, headers=headers, resend=True)
        self.receive("ACK")

    def is_cancelled(self, vias: int = 3) -> None:
        """200 to the CANCEL, then 487 to the INVITE, whose `vias` headers were kept: CANCEL carries only the top one."""
        self.receive("CANCEL")
        self.reply(200, "OK")
        self._send(
            "SIP/2.0 487 Request Terminated",
            *(f"Via: [$via{n}]" for n in range(1, vias + 1)),
            "[last_From:]",
            f"[last_To:];tag={self._tag(self.calls)}",
            f"CSeq: {self.peer_cseq} INVITE",
            f"Server: {self.me.software}",
            resend=True,
        )
        self.receive("ACK")

    # What both do within the dialog.

    def within(
        self,
        method: str,
        *,
        headers: tuple[str, ...] = (),
        body: str = "",
        resend: bool = True,
        same_cseq: bool = False,
        body_type: str = "application/sdp",
    ) -> None:
        """A request within the dialog."""
        if not same_cseq:
            self._cseq += 1
        self._branch += 1
        self._send(
            f"{method} [next_url] SIP/2.0",
            self._via(),
            f"Max-Forwards: {self.max_forwards}",
            "[routes]",
            f"From: {self.me.display()};tag={self._tag(self.calls)}",
            f"To: {self.peer.display() if not self.calls else self.peer.uri()};tag={self._tag(not self.calls)}",
            f"CSeq: {self._cseq} {method}",
            *(() if method in ("ACK", "BYE") else (self._contact(),)),
            f"User-Agent: {self.me.software}",
            *headers,
            body=body,
            body_type=body_type,
            resend=resend,
        )

    def ack(self) -> None:
        """ACK to a 2xx: a branch of its own, the CSeq of the INVITE."""
        self.within("ACK", resend=False, same_cseq=True)

    def ack_within(self) -> None:
        """ACK to a refusal within the dialog: the request's own branch."""
        self._branch -= 1
        self.within("ACK", resend=False, same_cseq=True)

    def reinvite(self, body: str, *, headers: tuple[str, ...] = ()) -> None:
        """INVITE within the dialog up to its 200 and ACK."""
        self.within("INVITE", headers=headers, body=body)
        self.progress()
        self.expect(200)
        self.ack()

    def is_reinvited(self, body: str) -> None:
        self.receive("INVITE")
        self.reply(200, "OK", body=body, resend=True, in_dialog=True)
        self.receive("ACK")

    def hang_up(self, *headers: str) -> None:
        self.within("BYE", headers=headers)
        self.expect(200)

    def is_hung_up(self) -> None:
        self.receive("BYE")
        self.reply(200, "OK", in_dialog=True)

    def talk(self, seconds: float) -> None:
        self.wait(seconds)

    def wait(self, seconds: float) -> None:
        self._steps.append(f'  <pause milliseconds="{round(seconds * 1000)}"/>\n')

    def expect(
        self,
        status: int,
        *,
        optional: bool = False,
        challenge: bool = False,
        routes: bool = False,
    ) -> None:
        attributes = f'response="{status}"' + ' optional="true"' * optional + ' auth="true"' * challenge
        attributes += ' rrs="true"' * routes
        self._steps.append(f"  <recv {attributes}/>\n")

    # Wire.

    def _tag(self, of_caller: bool) -> str:
        return f"{self.seed}{'a' if of_caller else 'b'}"

    def _via(self) -> str:
        end = "a" if self.calls else "b"
        return f"Via: SIP/2.0/{self.transport} {self.me.host}:{self.port};rport;branch=z9hG4bK{self.seed}{end}{self._branch}"

    def _contact(self) -> str:
        parameter = ";transport=tcp" if self.transport == "TCP" else ""
        return f"Contact: <sip:{self.me.number}@{self.me.host}:{self.port}{parameter}>"

    def _send(self, start: str, *headers: str, body: str = "", body_type: str = "", resend: bool = True) -> None:
        cseq = next(index for index, line in enumerate(headers) if "cseq" in line.lower())
        lines = [start, *headers[:cseq], "Call-ID: [call_id]", *headers[cseq:]]
        if body:
            lines.append(f"Content-Type: {body_type or 'application/sdp'}")
        lines.append("Content-Length: [len]" if body else "Content-Length: 0")
        retransmit = ' retrans="500"' if resend and self.transport == "UDP" else ""
        text = "\n".join([*lines, "", body.rstrip("\n")] if body else [*lines, "", ""])
        self._steps.append(f"  <send{retransmit}><![CDATA[\n\n{text}\n\n]]></send>\n")
