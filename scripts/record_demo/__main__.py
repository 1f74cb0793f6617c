"""`python -m scripts.record_demo`: plays every scenario and writes the recording and the example captures.

It runs in network and process namespaces of its own: the nodes have the addresses of a provider, nothing leaves this
machine, and whatever happens no process outlives the command.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ringback.demo import recording
from ringback.demo.recording import Played
from scripts.record_demo import examples, nodes
from scripts.record_demo.pbx import Pbx
from scripts.record_demo.plan import DOCUMENTATION, Plan
from scripts.record_demo.play import forwards, play, routes, set_stages
from scripts.record_demo.scenarios import SCENARIOS
from scripts.record_demo.stage import Scenario, Stage

LIMIT_S = 175
APART_S = 0.6  # between the starts of two scenarios
TIMERS = nodes.Timers(nonce_s=12)
TOOLS = ("kamailio", "sipp", "dumpcap", "ip", "unshare")


def main() -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        sys.exit(
            f"{', '.join(missing)} not found. Run: apt-get install kamailio sip-tester tshark iproute2 util-linux"
        )
    if sys.argv[1:] == ["--inside"]:
        record()
        return
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", *user, "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    sys.exit(
        subprocess.run([*command, sys.executable, "-m", "scripts.record_demo", "--inside"], check=False).returncode
    )


def record() -> None:
    """Raises SippFailed when a scenario went otherwise than written, TimeoutError after LIMIT_S."""
    signal.signal(signal.SIGALRM, _too_late)
    signal.alarm(LIMIT_S)
    plan = DOCUMENTATION
    _own_addresses(plan)
    for name in examples.AUDIO:
        SCENARIOS[name] = Scenario(name, "", examples.write)
    stages = set_stages(plan, SCENARIOS)
    with tempfile.TemporaryDirectory(prefix="record-demo-") as temporary, Recorder() as recorder:
        folder = Path(temporary)
        with (
            nodes.chain(plan, nodes.Collector(*recorder.address), folder, routes(stages.values()), TIMERS),
            Pbx(plan.pbx, plan.core, forwards(stages.values())) as pbx,
        ):
            time.sleep(0.5)
            recorder.packets.clear()  # the chain's first OPTIONS
            told = [name for name in stages if name not in examples.AUDIO]
            with ThreadPoolExecutor(len(told)) as players:
                playing = [
                    players.submit(_play, stages[name], folder / name, number * APART_S)
                    for number, name in enumerate(told)
                ]
                for future in playing:
                    future.result()
            time.sleep(1)  # last ACKs and retransmissions
            packets = list(recorder.packets)
            for name in examples.AUDIO:
                target = folder / f"{name}.pcap"
                examples.record(name, stages[name], folder / name, target)
                shutil.copyfile(target, recording.FOLDER / "examples" / target.name)
        recording.save(packets, [_played(SCENARIOS[name], stages[name], pbx) for name in told])
    print(f"{len(told)} scenarios, {len(packets)} packets, {len(examples.AUDIO)} example captures")


def _play(stage: Stage, folder: Path, after_s: float) -> None:
    time.sleep(after_s)
    play(stage, folder)


def _played(scenario: Scenario, stage: Stage, pbx: Pbx) -> Played:
    call_ids = [side.call_id for side in stage.sides if side.call_id]
    call_ids += [pbx.second_legs[call_id] for call_id in call_ids if call_id in pbx.second_legs]
    return Played(scenario.id, scenario.tells, tuple(call_ids), tuple(stage.subscribers), tuple(stage.called))


class Recorder:
    """Keeps every datagram that comes to its socket."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self.address: tuple[str, int] = self._socket.getsockname()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder")

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.packets.append(self._socket.recv(65535))
            except TimeoutError:
                continue


def _own_addresses(plan: Plan) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    lines = "".join(f"address add {address}/32 dev lo\n" for address in sorted(set(plan.everywhere())))
    subprocess.run(["ip", "-batch", "-"], input=lines.encode(), check=True)


def _too_late(*_: object) -> None:
    raise TimeoutError(f"recording took longer than {LIMIT_S} s")


if __name__ == "__main__":
    main()
