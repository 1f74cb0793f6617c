"""FreeRADIUS with the site of deploy/freeradius on an address of its own, and radclient as the node that asks it."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.record_demo.plan import loopback

from running import until

SHIPPED = Path(__file__).parents[2] / "deploy" / "freeradius"
NODE, SECRET = "gw1", "node-secret"
PORTS = {"auth": 1812, "acct": 1813}  # by what is sent there
_BASE = """
prefix = /usr
logdir = {folder}/log
radacctdir = {folder}/log/radacct
run_dir = {folder}
confdir = {folder}
libdir = /usr/lib/freeradius
pidfile = {folder}/radiusd.pid
max_request_time = 30
security {{
	reject_delay = 0
}}
log {{
	destination = stdout
}}
client {node} {{
	ipaddr = 127.0.0.0/8
	secret = {secret}
}}
thread pool {{
	start_servers = 2
	max_servers = 8
	min_spare_servers = 1
	max_spare_servers = 4
}}
modules {{
	digest {{
	}}
	always ok {{
		rcode = ok
	}}
	always fail {{
		rcode = fail
	}}
	$INCLUDE mods-available/ringback
}}
policy {{
	$INCLUDE policy.d/ringback
}}
$INCLUDE sites-available/ringback
"""


@dataclass(frozen=True, slots=True)
class Reply:
    code: str  # as radclient says it: "Access-Accept", ...; "" when there was none
    attributes: dict[str, list[str]]

    def one(self, name: str) -> str:
        (value,) = self.attributes[name]
        return value


@dataclass
class Radius:
    address: str
    folder: Path

    @property
    def log(self) -> str:
        return (self.folder / "output").read_text(errors="replace")

    def authorize(self, **attributes: str | list[str]) -> Reply:
        return self._send("auth", attributes)

    def account(self, **attributes: str | list[str]) -> Reply:
        return self._send("acct", attributes)

    def _send(self, kind: str, attributes: dict[str, str | list[str]]) -> Reply:
        """Names with underscores for dashes."""
        lines = []
        for name, values in attributes.items():
            for value in [values] if isinstance(values, str) else values:
                operator = "=" if value is values or value == values[0] else "+="
                lines.append(f'{name.replace("_", "-")} {operator} "{value}"')
        said = subprocess.run(
            ["radclient", "-x", "-r", "1", "-t", "30", f"{self.address}:{PORTS[kind]}", kind, SECRET],
            input="\n".join(lines), capture_output=True, text=True, timeout=40,
        ).stdout  # fmt: skip
        received = re.search(r"^Received (\S+) .*\n((?:\t.*\n)*)", said, re.MULTILINE)
        if received is None:
            return Reply("", {})
        found: dict[str, list[str]] = {}
        for name, value in re.findall(r"^\t(\S+) = (.*)$", received[2], re.MULTILINE):
            found.setdefault(name, []).append(value.strip('"'))
        return Reply(received[1], found)


@contextmanager
def freeradius(folder: Path, billing: str, token: str, **settings: str) -> Iterator[Radius]:
    """`settings` are parameters of ringback.conf."""
    address = loopback().edge
    raddb = folder / "raddb"
    shutil.copytree(SHIPPED, raddb)
    (raddb / "log" / "radacct" / "ringback").mkdir(parents=True)
    parameters = raddb / "ringback.conf"
    text = parameters.read_text()
    for name, value in {"url": f'"{billing}"', "token": f'"{token}"', **settings}.items():
        text, times = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value}", text)
        assert times == 1, f"ringback.conf no longer has {name}"
    parameters.write_text(text)
    site = raddb / "sites-available" / "ringback"
    site.write_text(site.read_text().replace("ipaddr = *", f"ipaddr = {address}"))
    (raddb / "radiusd.conf").write_text(_BASE.format(folder=raddb, node=NODE, secret=SECRET))
    with (raddb / "output").open("wb") as output:
        process = subprocess.Popen(
            ["freeradius", "-f", "-l", "stdout", "-d", str(raddb), "-n", "radiusd"],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        running = Radius(address, raddb)
        until(lambda: "Ready to process requests" in running.log or process.poll() is not None)
        assert process.poll() is None, f"FreeRADIUS did not start: {running.log[-3000:]}"
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
