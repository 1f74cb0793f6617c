"""python -m tests.fuzz SECONDS [TARGET...]: fuzzes each target for SECONDS, in a process of its own.

With atheris (the optional extra `fuzz`) the search is guided by coverage, else by blind mutation of the seeds. An input
that breaks a promise is written to tests/fuzz/regressions/TARGET, where pytest replays it from then on.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

NAMES = ("hep", "hep-stream", "sip", "sdp", "pcap", "pcapng")
LONGEST = 8192  # bytes of an input
TOKENS = (
    b"HEP3",
    b"INVITE ",
    b"SIP/2.0",
    b"\r\n",
    b"\r\n\r\n",
    b"Call-ID: ",
    b"Content-Length: ",
    b"\0\0",
    b"\xff\xff",
    b"m=",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("seconds", type=int)
    parser.add_argument("targets", nargs="*", metavar="target", help=f"of {', '.join(NAMES)}; all when none is named")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # in this process: what a child does
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - set(NAMES):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    guided = importlib.util.find_spec("atheris") is not None
    if arguments.here:
        (_guided if guided else _blind)(arguments.targets[0], arguments.seconds)
        return 0
    print("guided by coverage (atheris)" if guided else "blind mutation: atheris is not installed", flush=True)
    failed = 0
    for name in arguments.targets or NAMES:
        failed += _child(name, arguments.seconds)
    return 1 if failed else 0


def _child(name: str, seconds: int) -> int:
    """Runs one target and prints its figures; 1 when it broke."""
    command = [sys.executable, "-m", "tests.fuzz", "--here", str(seconds), name]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    output = done.stdout + done.stderr
    told = re.search(r"(?:Done |number_of_executed_units: )(\d+)", output)
    executions = f"{int(told[1]):,} executions" if told else "an unknown number of executions"
    print(
        f"{name}: {executions} in {time.monotonic() - started:.0f} s, {'BROKEN' if done.returncode else 'ok'}",
        flush=True,
    )
    if done.returncode:
        told_lines = [line for line in output.splitlines() if not re.match(r"#\d+\s|INFO:", line)]
        print("\n".join(told_lines[-40:]), file=sys.stderr, flush=True)
    return 1 if done.returncode else 0


def _guided(name: str, seconds: int) -> None:
    import atheris

    with atheris.instrument_imports(include=["ringback.sessions"]):
        from . import targets
    with tempfile.TemporaryDirectory() as corpus:
        options = [
            f"-max_total_time={seconds}",
            f"-timeout={targets.SECONDS_PER_INPUT}",
            f"-rss_limit_mb={targets.MEGABYTES}",
            f"-max_len={LONGEST}",
            f"-artifact_prefix={_regressions(name)}/",
            "-print_final_stats=1",
            "-close_fd_mask=0",
        ]
        folders = [str(folder) for folder in (targets.HERE / "seeds" / name, _regressions(name)) if folder.exists()]
        atheris.Setup([sys.argv[0], *options, corpus, *folders], targets.TARGETS[name])
        atheris.Fuzz()


def _blind(name: str, seconds: int) -> None:
    from . import targets

    target, chance = targets.TARGETS[name], random.Random(time.time_ns())
    seeds = [path.read_bytes() for folder in ("seeds", "regressions") for path in targets.inputs(folder, name)] or [
        b""
    ]
    signal.signal(signal.SIGALRM, _too_long)
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        data = _mutated(chance, seeds)
        signal.alarm(targets.SECONDS_PER_INPUT)
        _run(target, data, _regressions(name))
        signal.alarm(0)
        count += 1
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"Done {count} runs, {used} MiB")
    if used > targets.MEGABYTES:
        sys.exit(f"{used} MiB of memory were used")


def _run(target: Callable[[bytes], None], data: bytes, keep: Path) -> None:
    try:
        target(data)
    except BaseException:
        (keep / f"crash-{hashlib.sha1(data).hexdigest()}").write_bytes(data)
        raise


def _mutated(chance: random.Random, seeds: list[bytes]) -> bytes:
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 8)):
        at = chance.randint(0, len(data))
        match chance.randint(0, 5):
            case 0 if data:
                data[at - 1] = chance.randint(0, 255)
            case 1:
                data[at:at] = chance.choice(TOKENS)
            case 2:
                del data[at : at + chance.randint(1, 64)]
            case 3:
                data[at:at] = data[at : at + chance.randint(1, 256)]
            case 4:
                other = chance.choice(seeds)
                data[at:] = other[chance.randint(0, len(other)) :]
            case _:
                data[at : at + 2] = chance.choice((b"\0\0", b"\xff\xff", b"\x7f\xff", b"\0\1"))
    return bytes(data[:LONGEST])


def _regressions(name: str) -> Path:
    folder = Path(__file__).parent / "regressions" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _too_long(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError("an input took too long")


if __name__ == "__main__":
    sys.exit(main())
