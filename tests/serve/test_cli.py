"""The commands, as a person types them: tokens, passwords, help, and how fast they begin."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from databases import POSTGRESQL, SQLITE
from ringback import __version__
from ringback.access.schemas import Visitor
from ringback.access.service import ensure_first_user, log_in
from ringback.cli import app
from ringback.records.engine import open_engine
from ringback.records.schema import migrate
from running import clean_environ, command

ADMINISTRATION = Path(__file__).parents[2] / "docs" / "administration.md"
HEAVY = {"sqlalchemy", "alembic", "fastapi", "starlette", "uvicorn", "rich", "structlog", "jinja2", "argon2", "httpx"}


def test_a_token_is_made_listed_and_revoked(tmp_path: Path) -> None:  # on PostgreSQL: test_two_hosts.py
    data = str(tmp_path)
    made = command("token", "create", "crm", "--expires", "30", "--data", data)
    assert made.returncode == 0
    assert re.fullmatch(r"rb_[\w-]{43}\n", made.stdout)
    listed = command("token", "list", "--data", data).stdout
    assert re.search(r"^crm +- +rb_.{5}\.\.\.  until \d{4}-\d\d-\d\d +default +never used$", listed, re.MULTILINE)
    assert made.stdout.strip() not in listed
    twice = command("token", "create", "crm", "--data", data)
    assert (twice.returncode, twice.stdout) == (2, "")
    assert "already" in twice.stderr
    assert command("token", "revoke", "crm", "--data", data).returncode == 0
    assert "revoked" in command("token", "list", "--data", data).stdout
    gone = command("token", "revoke", "crm", "--data", data)
    assert gone.returncode == 1
    assert "no live token" in gone.stderr


def test_a_password_is_reset(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'records.sqlite'}")
    migrate(engine)
    ensure_first_user(engine)
    engine.dispose()
    done = command("user", "reset-password", "admin", "--data", str(tmp_path))
    assert re.fullmatch(r"(\w{5}-){3}\w{5}\n", done.stdout)
    nobody = command("user", "reset-password", "nobody", "--data", str(tmp_path))
    assert (nobody.returncode, nobody.stderr) == (1, "ringback: There is no user nobody.\n")


def test_people_are_looked_after_from_the_shell(tmp_path: Path) -> None:
    def user(*asked: str) -> subprocess.CompletedProcess[str]:
        return command("user", *asked, "--data", str(tmp_path))

    made = user("add", "ann", "--role", "administrator", "--everywhere", "--full-name", "Ann B.")
    assert re.fullmatch(r"(\w{5}-){3}\w{5}\n", made.stdout)
    assert user("add", "bob", "--role", "noc", "--no-password").stdout == "bob is added.\n"
    assert user("set-role", "bob", "support").stdout == "bob is support now.\n"
    last = user("deactivate", "ann")
    assert (last.returncode, "last administrator" in last.stderr) == (1, True)
    assert user("deactivate", "bob").stdout == "bob is not active any more.\n"
    listed = user("list").stdout.splitlines()
    assert re.fullmatch(r"ann +administrator +everywhere +never signed in", listed[0])
    assert re.fullmatch(r"bob +support +default +never signed in  not active", listed[1])


def test_what_cannot_be_done_with_people_is_told(tmp_path: Path) -> None:
    for asked, said in (
        (("user", "add", "cyd", "--role", "boss"), "'boss' is no role"),
        (("user", "add", "cyd", "--environment", "nosuch"), "no environment nosuch"),
        (("user", "reset-second-factor", "cyd"), "There is no user cyd."),
        (("token", "create", "y", "--scope", "everything"), "'everything' is no permission"),
        (("token", "create", "y", "--user", "cyd"), "There is no user cyd."),
    ):
        refused = command(*asked, "--data", str(tmp_path))
        assert refused.returncode in (1, 2), asked
        assert said in refused.stderr, asked
        assert "Traceback" not in refused.stderr, asked


def test_the_data_folder_comes_from_the_option_the_environment_or_here(tmp_path: Path) -> None:
    lost = subprocess.run(
        [sys.executable, "-m", "ringback.cli", "token", "list"],
        capture_output=True, text=True, cwd=tmp_path, env=clean_environ(), check=False,
    )  # fmt: skip
    assert lost.returncode == 2
    assert "--data" in lost.stderr
    assert command("token", "list", environ={"RINGBACK_DATA": str(tmp_path / "elsewhere")}).returncode == 0
    assert (tmp_path / "elsewhere" / "records.sqlite").exists()
    (tmp_path / "data").mkdir()
    here = subprocess.run(
        [sys.executable, "-m", "ringback.cli", "token", "list"], cwd=tmp_path, env=clean_environ(), check=False
    )
    assert here.returncode == 0
    assert (tmp_path / "data" / "records.sqlite").exists()


def test_trace_wants_a_token() -> None:
    refused = command("trace", "--number", "18660333777", "--from", "-2h")
    assert refused.returncode == 2
    assert "RINGBACK_TOKEN" in refused.stderr


def test_a_server_that_is_not_there_is_told() -> None:
    refused = command(
        "trace",
        "--number",
        "1",
        "--from",
        "-2h",
        "--server",
        "http://127.0.0.1:9",
        environ={"RINGBACK_TOKEN": "rb_x"},
    )
    assert refused.returncode == 1
    assert "http://127.0.0.1:9" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_version_is_printed() -> None:
    assert command("version").stdout == f"{__version__}\n"


def test_records_of_a_newer_version_are_told(tmp_path: Path, records_url: str) -> None:
    engine = open_engine(records_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    environ = {"RINGBACK_DATABASE_URL": records_url}
    refused = command("token", "list", "--data", str(tmp_path), environ=environ)
    assert refused.returncode == 1
    assert "newer" in refused.stderr


@pytest.mark.parametrize("database", [SQLITE])
def test_records_are_copied(records_url: str, another_database: Callable[[str], str]) -> None:
    engine = open_engine(records_url)
    password = ensure_first_user(engine)
    engine.dispose()
    target = another_database(POSTGRESQL)
    done = command("records", "copy", "--from", records_url, "--to", target)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^users +1$", done.stdout, re.MULTILINE)
    engine = open_engine(target)
    assert log_in(engine, "admin", password or "", Visitor("", ""))
    engine.dispose()
    again = command("records", "copy", "--from", records_url, "--to", target)
    assert again.returncode == 1
    assert "the target has records already, in " in again.stderr
    assert "login_throttles" in again.stderr


def test_a_database_that_is_away_is_told_without_its_password(tmp_path: Path) -> None:
    away = {"RINGBACK_DATABASE_URL": "postgresql://ringback:hunter2@127.0.0.1:9/ringback"}
    for asked in (("token", "list"), ("serve", "--role", "web", "--web", "127.0.0.1:0")):
        refused = command(*asked, "--data", str(tmp_path), environ=away)
        assert refused.returncode == 1
        assert refused.stdout == ""
        assert "postgresql+psycopg://ringback:***@127.0.0.1:9/ringback cannot be opened: " in refused.stderr
        assert "refused" in refused.stderr
        assert "hunter2" not in refused.stderr
        assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("module", ["ringback.cli", "ringback.terminal"])
def test_nothing_heavy_is_imported_before_it_is_needed(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert HEAVY.isdisjoint(loaded)


def test_explain_needs_neither_server_nor_database(tmp_path: Path) -> None:
    capture = tmp_path / "empty.pcap"
    capture.write_bytes(bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000"))
    code = (
        "import sys\nfrom ringback.cli import app\n"
        f"try:\n    app(['explain', {str(capture)!r}])\nexcept SystemExit:\n    pass\n"
        "print('LOADED', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert HEAVY.isdisjoint(output.partition("LOADED")[2].split())


def test_every_command_is_documented() -> None:
    documented = ADMINISTRATION.read_text()
    names = {each.name for each in app.registered_commands if each.name}
    names |= {each.callback.__name__ for each in app.registered_commands if not each.name and each.callback}
    for group in app.registered_groups:
        assert group.typer_instance is not None
        for each in group.typer_instance.registered_commands:
            names.add(f"{group.name} {each.name}")
    assert len(names) >= 13
    for name in names:
        assert f"`{name}" in documented, name
