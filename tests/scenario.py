"""Test calls written as a text ladder, played into the sightings a capture of them would hold.

    played = play('''
        alice = 198.51.100.23:5060  ua=Yealink
        edge  = 192.0.2.10:5060     agent=101 node=edge cluster
        bob   = 203.0.113.9:5060    ua=Snom

        0.000  alice -> edge  INVITE sip:18660333777@acme.example  from=12103355787 sdp=PCMU,PCMA
        +.002  edge -> alice  100
        +.001  edge -> bob    INVITE sip:18660333777@203.0.113.9
        +.080  bob -> edge    180 Ringing
        +.001  edge -> alice  180
        2.000  bob -> edge    200 OK  sdp=PCMA
        2.001  edge -> alice  200
        2.500,3.500 edge -> alice  again 200
        4.000  alice -> edge  ACK
        4.001  edge -> bob    ACK
        2.1    alice => bob   PCMA 7.5s lost=3 mos=4.2
        0.001  edge ! warning the log line of a node
    ''')
    build_sessions(played.sightings, logs=played.logs, media=played.media, nodes=played.nodes)

Endpoints, ``name = address:port [transport] [options]``: ``agent=`` its capture agent sees all it sends and receives;
``skew=`` seconds its clock is ahead; ``ua=`` User-Agent or Server; ``node=KIND`` puts it in the register (`Played.nodes`),
with ``cluster`` as part of the switch. A hop between two endpoints without agents is seen once, by agent "" (a file).

Messages, ``TIME[,TIME...] A -> B START-LINE [options]``. TIME: seconds from the start, or ``+seconds`` after the line before.
Requests: ``METHOD [URI]``; responses: ``CODE [phrase]``, to the last request of B to A that has no final response
(else to the last); ``for=METHOD`` picks another. ``again METHOD|CODE`` sends the same bytes once more.
A request that A received before is forwarded (Via and Record-Route added) unless the option ``new`` is there, and a
response that A got on the forwarded branch is passed on (Via removed); everything else is made by A. Dialog tags, CSeq, ACK
and CANCEL follow RFC 3261. Options:

  leg=b          another Call-ID; a leg's name is "a" by default        callid=TEXT   its Call-ID, at its first message
  from=USER      caller, at the leg's first request                     to=USER       where the To is not the Request-URI's
  sdp=CODECS[@ADDRESS[:PORT]][/sendonly|/inactive|/srtp]   a body; ``sdp`` alone is PCMU,PCMA; ``sdp=t38`` a fax
  auth=NONCE     in a 401/407: a challenge, with ``stale``; in a request: credentials for it (user=USER, else the caller)
  as=caller|callee   whose tags a request of a middle node carries      contact=, expires=   those headers
  sport=, dport=     other ports                                        cseq=N        another CSeq
  lost           sent, never arrives       unseen     no probe saw it       only=NAME  only that endpoint's probe saw it
  duplicate      captured twice 40 us apart with one IP id

Indented more deeply below a message: ``Name: value`` replaces or adds a header (repeat to add more), ``Name:`` removes it,
``| text`` is a line of the body. ``A => B CODEC SECONDSs key=value`` is an RTP stream; ``A ! LEVEL text`` a log line of A
about leg a; ``A $ STEP key=value ... : text`` a line of the billing log about what A asked, of the leg
``leg=`` (a by default).
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field

from ringback.sessions.story import IP_ID_KNOWN, Hop, LogLine, NodeInfo, Sighting, StreamReport

START_US = 1_795_348_800_000_000  # 2026-11-22T12:00:00Z
DOMAIN = "acme.example"
DELAY_US = 150  # between the two ends of a hop
_OPTIONS = {
    "leg", "callid", "from", "to", "sdp", "auth", "user", "as", "contact", "expires", "sport", "dport", "cseq", "only", "for",
}  # fmt: skip
_FLAGS = {"sdp", "stale", "new", "lost", "unseen", "duplicate", "again"}
_PHRASES = {
    100: "Trying", 180: "Ringing", 183: "Session Progress", 200: "OK", 202: "Accepted", 302: "Moved Temporarily",
    401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 407: "Proxy Authentication Required",
    408: "Request Timeout", 480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist",
    486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here", 500: "Server Internal Error",
    502: "Bad Gateway", 503: "Service Unavailable", 504: "Server Time-out", 600: "Busy Everywhere", 603: "Decline",
}  # fmt: skip
_PAYLOAD_TYPES = {
    "PCMU": 0,
    "GSM": 3,
    "G723": 4,
    "PCMA": 8,
    "G722": 9,
    "G729": 18,
    "telephone-event": 101,
    "opus": 96,
}
_CLOCK = {"opus": "48000/2"}


@dataclass
class Played:
    """What the capture of the ladder holds."""

    sightings: list[Sighting] = field(default_factory=list)
    media: list[StreamReport] = field(default_factory=list)
    logs: list[LogLine] = field(default_factory=list)
    nodes: list[NodeInfo] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)  # address:port -> endpoint


def play(ladder: str, *, start_us: int = START_US) -> Played:
    """Raises ValueError for a line that cannot be read."""
    stage = _Stage(start_us)
    lines = ladder.splitlines()
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    index = 0
    while index < len(lines):
        line = lines[index]
        index += 1
        if not line.strip() or line.strip().startswith("#"):
            continue
        extra: list[str] = []
        while index < len(lines) and lines[index].strip() and not _starts_at(lines[index], margin):
            extra.append(lines[index].strip())
            index += 1
        stage.line(line.strip(), extra)
    stage.played.sightings.sort(key=lambda sighting: sighting.time_us)
    return stage.played


def _starts_at(line: str, margin: int) -> bool:
    return len(line) - len(line.lstrip()) <= margin


@dataclass
class _Endpoint:
    name: str
    address: str
    port: int
    transport: str = "udp"
    agent: str = ""
    skew_us: int = 0
    user_agent: str = ""
    ip_id: int = 0

    @property
    def host(self) -> str:
        return f"[{self.address}]" if ":" in self.address else self.address


@dataclass
class _Wire:
    start: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def bytes(self) -> bytes:
        head = [self.start, *(f"{name}: {value}" for name, value in self.headers)]
        return "\r\n".join([*head, "", ""]).encode() + self.body

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def put(self, name: str, value: str) -> None:
        self.headers = [(key, value if key.lower() == name.lower() else old) for key, old in self.headers]

    def copy(self) -> _Wire:
        return _Wire(self.start, list(self.headers), self.body)


@dataclass
class _Exchange:
    """A transaction on one hop."""

    method: str
    client: str
    server: str
    request: _Wire
    origin: _Exchange | None = None
    arrived: bool = True
    responses: list[tuple[int, _Wire]] = field(default_factory=list)  # those that reached the client

    @property
    def final(self) -> int:
        return next((code for code, _ in self.responses if code >= 200), 0)


@dataclass
class _Leg:
    name: str
    call_id: str
    caller: str = ""
    called: str = ""
    origin: str = ""  # endpoint that sent the first request
    remote_tag: str = ""
    remote_contact: str = ""
    local_contact: str = ""
    challenge: int = 401
    cseq: dict[str, int] = field(default_factory=lambda: {"caller": 0, "callee": 100})
    exchanges: list[_Exchange] = field(default_factory=list)


class _Stage:
    def __init__(self, start_us: int) -> None:
        self.start_us = start_us
        self.now_us = 0
        self.played = Played()
        self.endpoints: dict[str, _Endpoint] = {}
        self.legs: dict[str, _Leg] = {}
        self.sent: list[tuple[str, str, str, _Wire]] = []  # sender, receiver, method or code, message
        self.branches = 0

    def line(self, text: str, extra: list[str]) -> None:
        if match := re.match(r"(\S+)\s+=\s+(\S+)\s*(.*)$", text):
            self._endpoint(*match.groups())
        elif match := re.match(r"(\S+)\s+(\S+)\s+->\s+(\S+)\s+(.+)$", text):
            times, source, destination, rest = match.groups()
            self._message(times, self._known(source), self._known(destination), rest, extra)
        elif match := re.match(r"(\S+)\s+(\S+)\s+=>\s+(\S+)\s+(\S+)\s+([\d.]+)s\s*(.*)$", text):
            self._stream(*match.groups())
        elif match := re.match(r"(\S+)\s+(\S+)\s+\$\s+(\S+)\s+(.*?)\s*: (.+)$", text):
            self._billed(*match.groups())
        elif match := re.match(r"(\S+)\s+(\S+)\s+!\s+(\S+)\s+(.+)$", text):
            time, node, level, words = match.groups()
            call_id = self.legs["a"].call_id if "a" in self.legs else ""
            self.played.logs.append(LogLine(self.start_us + self._time(time), "node", node, level, words, call_id))
        else:
            raise ValueError(f"cannot read the line {text!r}")

    def _billed(self, time: str, node: str, step: str, pairs: str, words: str) -> None:
        fields = dict(pair.split("=", 1) for pair in pairs.split())
        leg = self.legs.get(fields.pop("leg", "a"))
        names = ("destination", "tariff", "product")
        fields |= {name: fields[name].replace("_", " ") for name in names if name in fields}
        fields |= {} if step == "-" else {"step": step}
        call_id = leg.call_id if leg else ""
        self.played.logs.append(
            LogLine(self.start_us + self._time(time), "billing", node, "info", words, call_id, fields)
        )

    def _known(self, name: str) -> _Endpoint:
        if name not in self.endpoints:
            raise ValueError(f"no endpoint {name!r}")
        return self.endpoints[name]

    def _time(self, text: str) -> int:
        self.now_us = round(float(text) * 1e6) + (self.now_us if text.startswith("+") else 0)
        return self.now_us

    def _endpoint(self, name: str, socket: str, rest: str) -> None:
        address, _, port = socket.rpartition(":")
        endpoint = _Endpoint(name, address.strip("[]"), int(port))
        kind, cluster = "", False
        for word in rest.split():
            key, _, value = word.partition("=")
            if key == "agent":
                endpoint.agent = value
            elif key == "skew":
                endpoint.skew_us = round(float(value) * 1e6)
            elif key == "ua":
                endpoint.user_agent = value
            elif key == "node":
                kind = value
            elif key == "cluster":
                cluster = True
            elif not value:
                endpoint.transport = key
            else:
                raise ValueError(f"unknown option {word!r} of endpoint {name}")
        self.endpoints[name] = endpoint
        self.played.names[f"{endpoint.host}:{endpoint.port}"] = name
        if kind:
            agents = frozenset({endpoint.agent} if endpoint.agent else ())
            address = f"{endpoint.host}:{endpoint.port}"
            self.played.nodes.append(NodeInfo(name, kind, cluster, "", agents, frozenset({address})))

    def _stream(self, time: str, source: str, target: str, codec: str, seconds: str, rest: str) -> None:
        figures = {key: float(value) for key, value in (word.split("=") for word in rest.split())}
        start = self.start_us + self._time(time)
        packets = int(figures.get("packets", float(seconds) * 50))
        lost = int(figures["lost"]) if "lost" in figures else None
        ends = [f"{end.host}:{_rtp_port(end)}" for end in (self._known(source), self._known(target))]
        self.played.media.append(
            StreamReport(
                ends[0], ends[1], zlib.crc32(f"{source}{target}{time}".encode()), start,
                start + round(float(seconds) * 1e6), packets, codec, _PAYLOAD_TYPES.get(codec), lost,
                100 * lost / (packets + lost) if lost is not None else None,
                figures.get("jitter"), figures.get("max_jitter"), figures.get("mos"),
                leg=next(iter(self.legs.values())).call_id if self.legs else "",
            )
        )  # fmt: skip

    def _message(self, times: str, source: _Endpoint, target: _Endpoint, rest: str, extra: list[str]) -> None:
        options: dict[str, str] = {}
        words: list[str] = []
        for word in rest.split():
            key, equals, value = word.partition("=")
            if equals and key in _OPTIONS:
                options[key] = value
            elif not equals and word in _FLAGS:
                options[word] = ""
            else:
                words.append(word)
        first, *others = times.split(",")
        time = self._time(first)
        if "again" in options:
            found = (wire for one, two, what, wire in reversed(self.sent)
                     if (one, two, what) == (source.name, target.name, words[0]))  # fmt: skip
            wire = next(found, None)
            if wire is None:
                raise ValueError(f"{source.name} has sent no {words[0]} to {target.name} before")
        else:
            wire = self._compose(source, target, words, options, extra)
            self.sent.append((source.name, target.name, words[0], wire))
        for moment in [time, *(self._time(other) for other in others)]:
            self._see(moment, source, target, wire, options)

    def _see(self, time_us: int, source: _Endpoint, target: _Endpoint, wire: _Wire, options: dict[str, str]) -> None:
        if "unseen" in options:
            return
        source.ip_id = source.ip_id % 0xFFFF + 1
        seen = {}
        if source.agent:
            seen[source.agent] = time_us + source.skew_us
        if target.agent and "lost" not in options:
            seen.setdefault(target.agent, time_us + DELAY_US + target.skew_us)
        if "only" in options:
            agent = self._known(options["only"]).agent
            seen = {agent: seen[agent]}
        marks = 0
        if not seen:
            seen, marks = {"": time_us}, IP_ID_KNOWN | source.ip_id
        for agent, moment in seen.items():
            hop = Hop(
                source.transport, source.address, int(options.get("sport", source.port)),
                target.address, int(options.get("dport", target.port)), agent,
            )  # fmt: skip
            self.played.sightings.append(Sighting(self.start_us + moment, hop, wire.bytes(), marks))
            if "duplicate" in options:
                again = Sighting(self.start_us + moment + 40, hop, wire.bytes(), IP_ID_KNOWN | source.ip_id)
                self.played.sightings[-1] = self.played.sightings[-1]._replace(marks=again.marks)
                self.played.sightings.append(again)

    def _compose(
        self, source: _Endpoint, target: _Endpoint, words: list[str], options: dict[str, str], extra: list[str]
    ) -> _Wire:
        name = options.get("leg", "a")
        leg = self.legs.get(name)
        if leg is None:
            leg = self.legs[name] = _Leg(
                name, options.get("callid", f"{name}-call@{DOMAIN}"), options.get("from", "alice")
            )
        if words[0].isdigit():
            exchange = self._answered(leg, source, target, options.get("for", ""))
            wire = self._response(leg, exchange, source, int(words[0]), " ".join(words[1:]), options)
        else:
            exchange = self._request(leg, source, target, words, options)
            wire = exchange.request
        self._body(leg, wire, source, options, extra)
        if words[0].isdigit() and "lost" not in options:
            exchange.responses.append((int(words[0]), wire))
        elif not words[0].isdigit():
            exchange.arrived = "lost" not in options
            leg.exchanges.append(exchange)
        return wire

    def _answered(self, leg: _Leg, source: _Endpoint, target: _Endpoint, method: str) -> _Exchange:
        candidates = [
            exchange
            for exchange in reversed(leg.exchanges)
            if exchange.client == target.name and exchange.server == source.name
            and (exchange.method == method if method else exchange.method != "ACK")
        ]  # fmt: skip
        if not candidates:
            raise ValueError(f"{target.name} has sent {source.name} nothing to respond to")
        return next((exchange for exchange in candidates if not exchange.final), candidates[0])

    def _response(
        self, leg: _Leg, exchange: _Exchange, source: _Endpoint, code: int, phrase: str, options: dict[str, str]
    ) -> _Wire:
        for child in reversed(leg.exchanges):
            passed = [wire for status, wire in child.responses if status == code]
            if child.origin is exchange and passed and code != 100:
                wire = passed[-1].copy()
                del wire.headers[0]
                if phrase:
                    wire.start = f"SIP/2.0 {code} {phrase}"
                return wire
        request = exchange.request
        headers = [header for header in request.headers if header[0] in ("Via", "From", "To", "Call-ID", "CSeq")]
        wire = _Wire(f"SIP/2.0 {code} {phrase or _PHRASES.get(code, 'Whatever')}", headers)
        if code > 100 and ";tag=" not in wire.get("To"):
            wire.put("To", f"{wire.get('To')};tag={source.name}-{leg.name}")
        if code > 100 and code < 400 and exchange.method in ("INVITE", "SUBSCRIBE", "UPDATE", "REGISTER"):
            wire.headers += [header for header in request.headers if header[0] == "Record-Route"]
            contact = f"<sip:{leg.called or 'bob'}@{source.host}:{source.port}>"
            if exchange.method == "REGISTER":
                contact = request.get("Contact")
            wire.headers.append(("Contact", contact))
        if exchange.method in ("INVITE", "SUBSCRIBE") and 100 < code < 300:
            to_tag = wire.get("To").rpartition(";tag=")[2]
            if exchange.client == leg.origin or exchange.origin is not None or not leg.remote_tag:
                leg.remote_tag, leg.remote_contact = to_tag, wire.get("Contact").strip("<>")
        if source.user_agent:
            wire.headers.append(("Server", source.user_agent))
        if "auth" in options:
            header = "Proxy-Authenticate" if code == 407 else "WWW-Authenticate"
            stale = ", stale=true" if "stale" in options else ""
            wire.headers.append((header, f'Digest realm="{DOMAIN}", nonce="{options["auth"]}"{stale}'))
        if code in (401, 407):
            leg.challenge = code
        return wire

    def _request(
        self, leg: _Leg, source: _Endpoint, target: _Endpoint, words: list[str], options: dict[str, str]
    ) -> _Exchange:
        method, uri = words[0], words[1] if len(words) > 1 else ""
        mine = [one for one in leg.exchanges if (one.client, one.server) == (source.name, target.name)]
        invite = next((one for one in reversed(mine) if one.method == "INVITE"), None)
        if invite and (method == "CANCEL" or (method == "ACK" and invite.final >= 300)):
            return _Exchange(method, source.name, target.name, self._same_hop(leg, invite, method))
        received = next(
            (one for one in reversed(leg.exchanges)
             if one.server == source.name and one.method == method and one.client != target.name and one.arrived),
            None,
        )  # fmt: skip
        via = ("Via", self._via(leg, source, options))
        if received and "new" not in options:
            wire = received.request.copy()
            wire.start = f"{method} {uri or received.request.start.split()[1]} SIP/2.0"
            wire.put("Max-Forwards", str(int(wire.get("Max-Forwards") or 70) - 1))
            wire.headers.insert(0, via)
            if method in ("INVITE", "SUBSCRIBE") and ";tag=" not in wire.get("To"):
                wire.headers.insert(2, ("Record-Route", f"<sip:{source.host}:{source.port};lr>"))
            return _Exchange(method, source.name, target.name, wire, received)
        return _Exchange(
            method, source.name, target.name, self._fresh(leg, source, method, uri, via, options, invite)
        )

    def _via(self, leg: _Leg, source: _Endpoint, options: dict[str, str]) -> str:
        self.branches += 1
        port = options.get("sport", source.port)
        return (
            f"SIP/2.0/{source.transport.upper()} {source.host}:{port};"
            f"branch=z9hG4bK-{source.name}-{leg.name}-{self.branches}"
        )

    def _same_hop(self, leg: _Leg, invite: _Exchange, method: str) -> _Wire:
        """RFC 3261 9.1 and 17.1.1.3: the top Via, Request-URI, From, Call-ID and CSeq number of the INVITE."""
        original = invite.request
        to_value = original.get("To")
        if method == "ACK":
            to_value = next(wire.get("To") for code, wire in invite.responses if code >= 300)
        number = original.get("CSeq").split()[0]
        headers = [
            ("Via", original.get("Via")), ("Max-Forwards", "70"), ("From", original.get("From")), ("To", to_value),
            ("Call-ID", leg.call_id), ("CSeq", f"{number} {method}"),
        ]  # fmt: skip
        return _Wire(f"{method} {original.start.split()[1]} SIP/2.0", headers)

    def _fresh(
        self, leg: _Leg, source: _Endpoint, method: str, uri: str, via: tuple[str, str],
        options: dict[str, str], invite: _Exchange | None,
    ) -> _Wire:  # fmt: skip
        if not leg.origin:
            leg.origin = source.name
        side = options.get("as") or ("caller" if source.name == leg.origin else "callee")
        in_dialog = bool(leg.remote_tag)
        if not leg.called and not in_dialog:
            addressee = re.match(r"sips?:([^@]+)@", uri)
            leg.called = options.get("to") or (addressee.group(1) if addressee else leg.caller)
        if in_dialog and not uri:
            uri = leg.remote_contact if side == "caller" else leg.local_contact
        uri = uri or f"sip:{DOMAIN}"
        if method != "ACK":
            leg.cseq[side] = int(options.get("cseq", leg.cseq[side] + 1))
        number = str(leg.cseq[side])
        if method == "ACK" and invite:
            number = invite.request.get("CSeq").split()[0]
        caller, called = f"<sip:{leg.caller}@{DOMAIN}>;tag=caller-{leg.name}", f"<sip:{leg.called}@{DOMAIN}>"
        if in_dialog:
            called += f";tag={leg.remote_tag}"
        user = leg.caller if side == "caller" else leg.called
        contact = options.get("contact") or f"<sip:{user}@{source.host}:{options.get('sport', source.port)}>"
        if side == "caller" and not in_dialog:
            leg.local_contact = contact.strip("<>")
        headers = [
            via, ("Max-Forwards", "70"), ("From", caller if side == "caller" else called),
            ("To", called if side == "caller" else caller), ("Call-ID", leg.call_id), ("CSeq", f"{number} {method}"),
        ]  # fmt: skip
        if method not in ("BYE", "MESSAGE", "ACK", "OPTIONS"):
            headers.append(("Contact", contact))
        if "expires" in options:
            headers.append(("Expires", options["expires"]))
        if source.user_agent:
            headers.append(("User-Agent", source.user_agent))
        if "auth" in options:
            name = "Proxy-Authorization" if leg.challenge == 407 else "Authorization"
            account = options.get("user", leg.caller)
            value = (
                f'Digest username="{account}", realm="{DOMAIN}", nonce="{options["auth"]}", '
                f'uri="{uri}", response="0123456789abcdef0123456789abcdef"'
            )
            headers.append((name, value))
        return _Wire(f"{method} {uri} SIP/2.0", headers)

    def _body(self, leg: _Leg, wire: _Wire, source: _Endpoint, options: dict[str, str], extra: list[str]) -> None:
        replaced: set[str] = set()
        lines = [line[1:].removeprefix(" ") for line in extra if line.startswith("|")]
        if "sdp" in options:
            wire.body = _sdp(options["sdp"] or "PCMU,PCMA", source, leg.name)
            wire.headers = [header for header in wire.headers if header[0] != "Content-Type"]
            wire.headers.append(("Content-Type", "application/sdp"))
        if lines:
            wire.body = "".join(f"{line}\r\n" for line in lines).encode()
        for line in extra:
            if line.startswith("|"):
                continue
            name, _, value = line.partition(":")
            at = next((i for i, header in enumerate(wire.headers) if header[0].lower() == name.lower()), None)
            if at is not None and name.lower() not in replaced:
                wire.headers = [header for header in wire.headers if header[0].lower() != name.lower()]
                if value.strip():
                    wire.headers.insert(at, (name, value.strip()))
            elif value.strip():
                wire.headers.append((name, value.strip()))
            replaced.add(name.lower())
        if "content-length" not in replaced:
            wire.headers = [header for header in wire.headers if header[0] != "Content-Length"]
            wire.headers.append(("Content-Length", str(len(wire.body))))


def _rtp_port(endpoint: _Endpoint) -> int:
    return 40000 + 2 * (zlib.crc32(endpoint.name.encode()) % 5000)


def _sdp(text: str, source: _Endpoint, leg: str) -> bytes:
    text, *modes = text.split("/")
    codecs, _, socket = text.partition("@")
    address, port = source.address, str(_rtp_port(source))
    if socket:
        address, _, given = socket.rpartition(":") if socket.count(":") == 1 else (socket, "", "")
        port = given or port
    family = "IP6" if ":" in address else "IP4"
    head = f"v=0\r\no=- {zlib.crc32(f'{source.name}{leg}'.encode())} 1 IN {family} {address}\r\ns=-\r\n"
    head += f"c=IN {family} {address}\r\nt=0 0\r\n"
    if codecs == "t38":
        return (head + f"m=image {port} udptl t38\r\na=T38FaxVersion:0\r\n").encode()
    names = codecs.split(",")
    numbers = [_PAYLOAD_TYPES.get(name, 97 + position) for position, name in enumerate(names)]
    profile = "RTP/SAVP" if "srtp" in modes else "RTP/AVP"
    media = f"m=audio {port} {profile} {' '.join(map(str, numbers))}\r\n"
    for name, number in zip(names, numbers, strict=True):
        media += f"a=rtpmap:{number} {name}/{_CLOCK.get(name, '8000')}\r\n"
    if "srtp" in modes:
        media += "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\r\n"
    direction = next((mode for mode in modes if mode != "srtp"), "sendrecv")
    return (head + media + f"a={direction}\r\n").encode()
