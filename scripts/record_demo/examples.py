"""Short captures of calls with audio, as dumpcap sees them: what the media figures of Ringback are shown on."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.record_demo.play import play
from scripts.record_demo.rtp import Stream
from scripts.record_demo.stage import Stage

TALK_S = 6.0
_ANSWERED_AFTER_S = 2.6  # from the start of a scenario
# file -> what each direction suffers: (loss, jitter in seconds), or None for silence
AUDIO: dict[str, tuple[tuple[float, float] | None, tuple[float, float] | None]] = {
    "answered-with-audio": ((0.0, 0.001), (0.0, 0.001)),
    "one-way-audio": (None, (0.0, 0.001)),
    "poor-audio": ((0.0, 0.001), (0.09, 0.120)),
}


def write(stage: Stage) -> None:
    """A call in G.729, long enough for the audio."""
    phone, gateway = stage.leg(stage.phone(), stage.carrier())
    phone.media = gateway.media = "18 101"
    phone.call()
    phone.answered()
    phone.talk(TALK_S + 0.3)
    phone.hang_up()
    gateway.rings()
    gateway.answers()
    gateway.is_hung_up()


def record(name: str, stage: Stage, folder: Path, target: Path) -> None:
    """Plays `stage` with the audio that `AUDIO` says and writes what passed as a pcap. Raises SippFailed, OSError."""
    phone, gateway = (side.me.address for side in stage.sides)
    directions = ((phone, gateway), (gateway, phone))
    with _dumpcap(target):
        threads = [
            Stream((source, 16384), (sink, 16384), TALK_S, _ANSWERED_AFTER_S, 0x5EED0000 + number, *audio).start()
            for number, ((source, sink), audio) in enumerate(zip(directions, AUDIO[name], strict=True))
            if audio
        ]
        play(stage, folder)
        for thread in threads:
            thread.join()
        time.sleep(0.3)


@contextmanager
def _dumpcap(target: Path) -> Iterator[None]:
    """Everything of SIP and RTP on the loopback interface, to a classic pcap."""
    process = subprocess.Popen(
        [
            *("dumpcap", "-q", "-P", "-i", "lo", "-w", str(target)),
            *("-f", "udp and (port 5060 or portrange 16384-16400) and not host 127.0.0.1"),
        ],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:  # it says "File: ..." once it captures
            if line.startswith(b"File:"):
                break
        else:
            raise OSError(f"dumpcap ended with code {process.wait()}")
        yield
    finally:
        process.terminate()
        process.communicate(timeout=5)
