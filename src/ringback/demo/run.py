"""`ringback demo`: a running console on fresh embedded stores, with two hours of recorded traffic behind it.

The traffic takes the way that a node's takes: HEP over TCP and UDP to the collector, captures through the importer.
"""

from __future__ import annotations

import fcntl
import shutil
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from ringback import clock
from ringback.composition import compose
from ringback.demo import recording, traffic
from ringback.demo.billing import send_billing_log
from ringback.demo.copies import Original, Timed, originals
from ringback.demo.entities import make_entities
from ringback.demo.money import PAST, make_money
from ringback.demo.replay import send_all, send_in_time
from ringback.events import open_store
from ringback.records.engine import open_engine
from ringback.records.schema import migrate
from ringback.serve import CannotServe, serve
from ringback.sessions.ingest.files import import_files
from ringback.settings import Settings, load_settings

_MARKER = "this-is-a-demo"
_STARTS_WITHIN_S = 60.0
_EXAMPLES_BACK_S = (300, 540, 780)  # when the calls of the example captures were


def run_demo(data: Path, web: str, hep: str, engine: str, say: Callable[[str], None] = print) -> None:
    """Makes `data` anew, serves it, and keeps traffic coming until SIGTERM or Ctrl-C.

    Raises CannotServe, also where `data` holds anything but an earlier demo; SettingsError.
    """
    settings = load_settings({}, data=data, web=web, hep_udp=hep, engine=engine)
    _make_anew(settings)
    _make_books(settings)
    _import_examples(settings)
    said: list[str] = []
    player = _Player(settings, originals(*recording.load()), said, say)

    def note(line: str) -> None:
        said.append(line)
        say(line)
        if line.startswith("HEP: tcp"):
            player.start()

    try:
        serve(settings, say=note)
    finally:
        player.stop()


def _make_anew(settings: Settings) -> None:
    folder = settings.data
    if folder.exists() and any(folder.iterdir()):
        if not (folder / _MARKER).exists():
            raise CannotServe(
                f"{folder} holds something else than a demo, which would be deleted. Choose another --data."
            )
        for lock in settings.run_folder.glob("*.lock"):
            with lock.open("a") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise CannotServe(
                        f"a demo already runs on {folder}. Stop it, or choose another --data."
                    ) from None
        shutil.rmtree(folder)
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    (folder / _MARKER).write_text("`ringback demo` deletes this folder when it starts.\n")


def _make_books(settings: Settings) -> None:
    """Nodes, customers and what is theirs, as if typed in: by the service that pages and the API use."""
    compose(settings)
    engine = open_engine(settings.records_url)
    try:
        migrate(engine)
        now = clock.now()
        make_entities(engine, now.date(), now - PAST)
        make_money(engine, now)
    finally:
        engine.dispose()


def _import_examples(settings: Settings) -> None:
    """The captures of calls with audio, as if made in the last quarter of an hour."""
    folder = settings.data / "captures"
    folder.mkdir()
    paths = []
    for back_s, example in zip(_EXAMPLES_BACK_S, sorted((recording.FOLDER / "examples").glob("*.pcap")), strict=True):
        moved = folder / example.name
        moved.write_bytes(moved_to(example.read_bytes(), clock.now_us() - back_s * 1_000_000))
        paths.append(moved)
    store = open_store(settings.store_url)
    try:
        summary = import_files(store, paths)
    finally:
        store.close()
    for file in summary.files:
        if file.status == "failed":
            raise CannotServe(f"{file.path.name} cannot be imported: {file.problem}")


def moved_to(pcap: bytes, start_us: int) -> bytes:
    """The classic little-endian microsecond pcap with its first packet at `start_us` and the others as far from it as
    before. Raises ValueError for any other file."""
    if pcap[:4] != b"\xd4\xc3\xb2\xa1":
        raise ValueError("not a little-endian pcap with microseconds")
    moved, at, shift_us = bytearray(pcap), 24, None
    while at < len(pcap):
        seconds, microseconds, captured = struct.unpack_from("<III", pcap, at)
        time_us = seconds * 1_000_000 + microseconds
        shift_us = start_us - time_us if shift_us is None else shift_us
        struct.pack_into("<II", moved, at, *divmod(time_us + shift_us, 1_000_000))
        at += 16 + captured
    return bytes(moved)


class _Player:
    """The traffic, in a thread beside the server's supervisor."""

    def __init__(
        self, settings: Settings, recorded: Mapping[str, Original], said: list[str], say: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._recorded = recorded
        self._said = said
        self._say = say
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo traffic")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        told = dict(line.split(": ", 1) for line in self._said if ": " in line and not line.startswith("HEP"))
        hep = {line.split()[1]: _socket(line.split()[2]) for line in self._said if line.startswith("HEP: ")}
        try:
            if not self._web_answers(told["Web"]):
                return
            packets = traffic.history(self._recorded, clock.now_us())
            send_all(hep["tcp"], packets, self._stopping)
            self._send_billing_log(told["Web"], packets)
            self._say(_welcome(told))
            send_in_time(hep["udp"], traffic.live(self._recorded, clock.now_us()), self._stopping)
        except OSError as error:
            if not self._stopping.is_set():
                print(f"ringback: the demo's traffic cannot be sent: {error}", file=sys.stderr)

    def _send_billing_log(self, url: str, packets: Sequence[Timed]) -> None:
        engine = open_engine(self._settings.records_url)
        try:
            send_billing_log(url, engine, self._recorded, packets)
        finally:
            engine.dispose()

    def _web_answers(self, url: str) -> bool:
        end = time.monotonic() + _STARTS_WITHIN_S
        while not self._stopping.wait(0.1) and time.monotonic() < end:
            try:
                with urlopen(f"{url}/readyz", timeout=2):  # noqa: S310 -- our own server, http
                    return True
            except (URLError, OSError):
                continue
        return False


def _socket(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def _welcome(told: Mapping[str, str]) -> str:
    return f"""
The demo runs: two hours of a small provider's calls, and new ones every few seconds.

    Open      {told["Web"]}
    User      {told["User"]}
    Password  {told["Password"]}
    Try       18660333777, which John Doe says he cannot call; more in docs/demo.md

Ctrl-C stops it. The next start makes its data anew."""
