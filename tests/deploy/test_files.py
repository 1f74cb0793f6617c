"""The files under deploy/ and compose.yaml say nothing that Ringback, systemd or a stranger would stumble over."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.core import TyperGroup

from ringback.cli import app
from ringback.events.opensearch.address import Address
from ringback.settings import load_settings, setting_infos

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
VARIABLES = {each.variable for each in setting_infos()}
MOST_EXPOSED = 2.0  # of systemd's 0 (best) to 10


def directives(unit: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        name, is_one, value = line.partition("=")
        if is_one and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def accepted(words: list[str]) -> dict[str, Any]:
    """What the command makes of its options. Raises UsageError for one it does not know."""
    command = typer.main.get_command(app)
    context = command.make_context("ringback", list(words))
    while isinstance(command, TyperGroup):
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command = found
        context = command.make_context(name, list(words), parent=context)
    options: dict[str, Any] = context.params
    return options


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_what_there_is_and_only_its_role_differs(unit: Path) -> None:
    said = directives(unit)
    command, *words = shlex.split(said["ExecStart"][0])
    assert command == "/opt/ringback/bin/ringback"
    roles = {
        "ringback.service": [],
        "ringback-collect.service": ["collect"],
        "ringback-web.service": ["web", "work", "engine"],
    }
    assert [role.value for role in accepted(words)["role"] or []] == roles[unit.name]
    base = directives(DEPLOY / "systemd" / "ringback.service")
    differs = {name for name in said | base if said.get(name) != base.get(name)}
    assert differs <= {"ExecStart", "Description"}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_understood_and_hardened(unit: Path, tmp_path: Path) -> None:
    """As on a host where the program and the user are there."""
    here = tmp_path / unit.name
    text = unit.read_text().replace("/opt/ringback/bin/ringback", sys.executable)
    here.write_text(re.sub(r"^(User|Group)=.*", r"\1=root", text, flags=re.MULTILINE))
    verified = subprocess.run(["systemd-analyze", "verify", "--man=no", here], capture_output=True, text=True)
    ours = [line for line in verified.stderr.splitlines() if not line.startswith("/lib/systemd/")]
    assert (verified.returncode, ours) == (0, [])
    exposed = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={int(MOST_EXPOSED * 10)}", here],
        capture_output=True,
        text=True,
    )
    assert exposed.returncode == 0, exposed.stdout


def test_the_example_of_the_environment_can_be_switched_on_line_by_line(tmp_path: Path) -> None:
    lines = [line[1:] for line in (DEPLOY / "ringback.env").read_text().splitlines() if re.match(r"#\w+=", line)]
    environ = dict(line.split("=", 1) for line in lines)
    assert environ.keys() <= VARIABLES
    settings = load_settings(environ, data=tmp_path)
    authority = tmp_path / "ca.pem"
    authority.touch()
    address = Address.parsed(settings.store_url.replace("/etc/ringback/search-ca.pem", str(authority)))
    assert len(address.hosts) == 3


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    lines = [line for line in (ROOT / "compose.yaml").read_text().splitlines() if not line.startswith("#")]
    text = re.sub(r"\$\{(\w+):?[-?]([^}]*)\}", r"\1", "\n".join(lines))
    assert "$" not in text, "every variable has a default, or says that it is needed"
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def test_compose_starts_the_roles_with_options_and_settings_there_are(compose: dict[str, Any]) -> None:
    roles = set()
    for name in ("web", "collect"):
        service = compose["services"][name]
        options = accepted(service["command"])
        roles |= {role.value for role in options["role"]}
        assert service["environment"].keys() <= VARIABLES
        settings = load_settings(
            service["environment"], data="/data", web=options["web"], hep_udp=options["hep"], admin=options["admin"]
        )
        Address.parsed(settings.store_url)
        published = {
            int(re.split(r"[:/]", port)[-2] if "/" in port else port.split(":")[-1]) for port in service["ports"]
        }
        listens = (
            {settings.web.port, settings.engine.port} if name == "web" else {each.port for each in settings.hep_udp}
        )
        assert published == listens
        port = settings.web.port if name == "web" else 9091
        assert f"http://127.0.0.1:{port}/readyz" in service["healthcheck"]["test"][-1]
        assert service["volumes"] == [f"{name}:/var/lib/ringback"]
    assert roles == {"web", "collect", "work", "engine"}


def test_compose_names_what_it_defines_and_exposes_no_store(compose: dict[str, Any]) -> None:
    services = compose["services"]
    volumes = set()
    for name, service in services.items():
        for other, condition in service.get("depends_on", {}).items():
            assert condition == {"condition": "service_healthy"}, name
            assert "healthcheck" in services[other], f"{name} waits for {other}"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).is_dir()
            else:
                volumes.add(source)
        assert "build" in service or ":" in service["image"], f"{name} is not pinned to a version"
    assert volumes == compose["volumes"].keys()
    assert not {"opensearch", "postgres"} & {name for name, service in services.items() if "ports" in service}
    build = services["web"]["build"]
    assert (ROOT / build["context"] / build["dockerfile"]).is_file()


def test_grafana_reads_the_indices_that_log_lines_are_in() -> None:
    (source,) = yaml.safe_load((DEPLOY / "grafana" / "ringback.yaml").read_text())["datasources"]
    assert source["type"] == "grafana-opensearch-datasource"
    from ringback.events.opensearch.days import LOGS, Names
    from ringback.events.opensearch.logs import document
    from ringback.events.store import LogRecord

    line = document(LogRecord("default", 0, "node", "edge-1", "info", "words"), 0, 0)
    fields = source["jsonData"]
    assert fields["database"] == Names(Address.parsed("http://opensearch").prefix).every(LOGS)
    assert {fields["timeField"], fields["logMessageField"], fields["logLevelField"]} <= line.keys()


def test_the_image_holds_what_it_copies_and_what_the_program_reads(tmp_path: Path) -> None:
    """A wheel, which the image installs, has the templates, migrations and issues in it."""
    for line in (DEPLOY / "Dockerfile").read_text().splitlines():
        words = line.split()
        if words[:1] == ["COPY"] and not words[1].startswith("--from"):
            for name in words[1:-1]:
                assert (ROOT / name).exists(), line
                assert f"!{name}" in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    built = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run([*built, "--no-index"], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    needed = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "ringback").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert needed <= held
    assert any(name.endswith(".toml") for name in needed)
