"""A real OpenID Provider (npm package oidc-provider) for tests: installed into .venv/ from its lock file, run on a port."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_HERE = Path(__file__).parent
_FILES = ("package.json", "package-lock.json", "server.mjs")
_PLACE = Path(sys.prefix) / "oidc-provider"
_NODE = Path(sys.prefix) / "bin" / "node"
_NPM = Path(sys.prefix) / "bin" / "npm"


class ProviderFailed(RuntimeError):
    """It could not be installed, or did not start; the text says why."""


def assembled() -> Path:
    """Where it is installed, with what the lock file says. Raises ProviderFailed."""
    current = all(
        (_PLACE / name).exists() and (_PLACE / name).read_bytes() == (_HERE / name).read_bytes() for name in _FILES
    )
    if current and (_PLACE / "node_modules" / "oidc-provider").is_dir():
        return _PLACE
    _PLACE.mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        shutil.copyfile(_HERE / name, _PLACE / name)
    done = subprocess.run(
        [_NPM, "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=_PLACE, capture_output=True, text=True
    )
    if done.returncode:
        (_PLACE / "package.json").unlink()
        raise ProviderFailed(f"npm ci: {done.stderr.strip()}")
    return _PLACE


@contextmanager
def running(people: Mapping[str, Mapping[str, object]], redirect_uri: str, secret: str = "s3cret") -> Iterator[str]:
    """Its issuer. The client is `ringback`; any password will do for a login of `people` ({login: claims})."""
    folder = assembled()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    client = {"client_id": "ringback", "client_secret": secret, "redirect_uris": [redirect_uri]}
    process = subprocess.Popen(
        [_NODE, "server.mjs"],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"port": port, "client": client, "people": people}))
        process.stdin.close()
        issuer = process.stdout.readline().strip()
        if not issuer:
            raise ProviderFailed(f"it ended at its start with {process.wait()}")
        yield issuer
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()
