"""The commands. Nothing heavy is imported before the command that needs it runs: `explain` has to be quick.

Exit codes: 0 fine; 1 something is wrong with the input, the server or the data (said on standard error); 2 wrong usage.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from rich.progress import TaskID
    from sqlalchemy import Engine

    from ringback.access.permissions import Role
    from ringback.configuring import Configuring
    from ringback.records.copying import CopyProgress
    from ringback.settings import Settings

app = typer.Typer(
    name="ringback",
    help="Tells why a call failed, and what to do about it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
token_app = typer.Typer(help="API tokens (Authorization: Bearer ...).", no_args_is_help=True, rich_markup_mode=None)
user_app = typer.Typer(help="People who sign in.", no_args_is_help=True, rich_markup_mode=None)
events_app = typer.Typer(help="The stored sessions and log lines.", no_args_is_help=True, rich_markup_mode=None)
config_app = typer.Typer(help="Options: save, verify, apply, roll back.", no_args_is_help=True, rich_markup_mode=None)
records_app = typer.Typer(help="Users, tokens, nodes, links.", no_args_is_help=True, rich_markup_mode=None)
audit_app = typer.Typer(help="Who changed what.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(audit_app, name="audit")
app.add_typer(config_app, name="config")
app.add_typer(records_app, name="records")
app.add_typer(token_app, name="token")
app.add_typer(user_app, name="user")
app.add_typer(events_app, name="events")

Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="The data folder. Else RINGBACK_DATA, else ./data where it exists."),
]
Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="pcap or pcapng, also gzipped.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]


class OneRole(StrEnum):
    web = "web"
    collect = "collect"
    work = "work"


@app.command()
def serve(
    data: Data = None,
    web: Annotated[str | None, typer.Option(metavar="ADDRESS:PORT", help="Pages and API. Port 0 picks one.")] = None,
    hep: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS:PORT", help="HEP over UDP, and TCP unless --hep-tcp says otherwise."),
    ] = None,
    hep_tcp: Annotated[str | None, typer.Option(metavar="ADDRESS:PORT", help='HEP over TCP; "" for none.')] = None,
    hep_tls: Annotated[str | None, typer.Option(metavar="ADDRESS:PORT", help="HEP over TLS.")] = None,
    tls_cert: Annotated[
        str | None, typer.Option(metavar="FILE", help="Certificate chain for HEP over TLS, PEM.")
    ] = None,
    tls_key: Annotated[str | None, typer.Option(metavar="FILE", help="Its private key, PEM.")] = None,
    admin: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS:PORT", help="/healthz, /readyz and /metrics of a server without pages."),
    ] = None,
    role: Annotated[
        list[OneRole] | None, typer.Option(help="Run this role, and others that are named likewise. Else all.")
    ] = None,
) -> None:
    """Run the server until SIGTERM or Ctrl-C. Every other setting: docs/administration.md."""
    from ringback.logs import configure_logs
    from ringback.serve import ROLES, CannotServe
    from ringback.serve import serve as run

    settings = _settings(
        data, web=web, hep_udp=hep, hep_tcp=hep_tcp, hep_tls=hep_tls, tls_cert=tls_cert, tls_key=tls_key, admin=admin
    )
    configure_logs(settings.log_format, "serve")
    try:
        run(settings, list(dict.fromkeys(each.value for each in role)) if role else ROLES, say=_say)
    except CannotServe as error:
        _fail(str(error))


@app.command("import")
def import_(
    files: Files,
    data: Data = None,
    force: Annotated[bool, typer.Option("--force", help="Import again what was imported before.")] = False,
    environment: Annotated[
        str, typer.Option(metavar="NAME", help="Which environment they belong to. Else the rules say.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Take captures into the store, with or without a server running."""
    settings = _settings(data)
    from ringback.importing import import_captures

    raise typer.Exit(import_captures(settings, files, force=force, as_json=as_json, environment=environment))


@app.command()
def explain(
    files: Files,
    as_json: AsJson = False,
    session: Annotated[int | None, typer.Option(metavar="N", help="Only the Nth session.", min=1)] = None,
    issues: Annotated[
        Path | None, typer.Option(metavar="DIR", envvar="RINGBACK_ISSUES", help="A folder of your own issues.")
    ] = None,
) -> None:
    """Say what happened in captures: no server, no store."""
    from ringback import terminal

    raise typer.Exit(terminal.explain(files, as_json=as_json, session=session, issues=issues))


@app.command()
def trace(
    number: Annotated[str, typer.Option(help="The number, in any role; % is the wildcard.")],
    start: Annotated[
        str, typer.Option("--from", metavar="TIME", help="RFC 3339, or back from now: -90m, -2h, -7d.")
    ] = "-24h",
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="As --from.")] = "now",
    server: Annotated[
        str, typer.Option(metavar="URL", envvar="RINGBACK_SERVER", help="The server's address.")
    ] = "http://127.0.0.1:8080",
    token: Annotated[
        str, typer.Option(envvar="RINGBACK_TOKEN", help="An API token; better by RINGBACK_TOKEN than as an option.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many sessions.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Ask a running server what happened to a number's sessions."""
    from ringback import terminal

    if not token:
        _fail("give an API token in RINGBACK_TOKEN (ringback token create NAME makes one)", code=2)
    raise typer.Exit(
        terminal.trace(server=server, token=token, number=number, start=start, end=end, as_json=as_json, limit=limit)
    )


@app.command()
def demo(
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="A folder for the demo alone; made anew each time.")
    ] = Path("demo-data"),
    web: Annotated[str, typer.Option(metavar="ADDRESS:PORT")] = "127.0.0.1:8080",
    hep: Annotated[str, typer.Option(metavar="ADDRESS:PORT")] = "127.0.0.1:9060",
) -> None:
    """Run a console full of recorded calls, until Ctrl-C."""
    from ringback.demo.run import run_demo
    from ringback.logs import configure_logs
    from ringback.serve import CannotServe
    from ringback.settings import SettingsError

    configure_logs("auto", "serve")
    try:
        run_demo(data, web, hep, say=_say)
    except SettingsError as error:
        _fail(str(error), code=2)
    except CannotServe as error:
        _fail(str(error))


@token_app.command("create")
def token_create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    data: Data = None,
    expires: Annotated[int | None, typer.Option(metavar="DAYS", help="Days until it expires. Else never.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(metavar="PERMISSION", help="What it may do. Else what the role api may.")
    ] = None,
    environment: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Where. Else: default, or all of its user's.")
    ] = None,
    user: Annotated[str | None, typer.Option(metavar="NAME", help="Whose it is. Else the installation's.")] = None,
) -> None:
    """Make an API token and print it, this once."""
    from ringback.access import commands
    from ringback.access.permissions import PERMISSIONS, Role

    scopes = tuple(scope or sorted(PERMISSIONS[Role.API]))
    environments = tuple(environment or (() if user else ("default",)))
    with _refused(code=2):
        _say(commands.make_token(_records(data), name, expires, environments, scopes, user))


@token_app.command("list")
def token_list(data: Data = None) -> None:
    """Show every token, without its secret."""
    from ringback.access.commands import token_lines

    for line in token_lines(_records(data)):
        _say(line)


@token_app.command("revoke")
def token_revoke(
    name: str,
    data: Data = None,
    user: Annotated[str | None, typer.Option(metavar="NAME", help="Whose it is. Else the installation's.")] = None,
) -> None:
    """End a token at once."""
    from ringback.access.commands import end_token

    with _refused():
        end_token(_records(data), name, user)
    _say(f"The token {name} is revoked.")


@user_app.command("add")
def user_add(
    name: str,
    data: Data = None,
    role: Annotated[str, typer.Option(help="administrator billing support noc read-only api")] = "read-only",
    environment: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="They belong to it; may be given again. Else: default.")
    ] = None,
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="An administrator of the whole installation.")
    ] = False,
    full_name: Annotated[str, typer.Option(metavar="TEXT")] = "",
    email: Annotated[str, typer.Option(metavar="ADDRESS")] = "",
    password: Annotated[bool, typer.Option(help="Without one they come by single sign-on.")] = True,
) -> None:
    """Add somebody and print the password they begin with, this once."""
    from ringback.access.commands import add_person
    from ringback.access.schemas import PersonForm

    environments = tuple(environment or ("default",))
    form = PersonForm(
        name, full_name, email, _role(role), environments, everywhere, sees_personal=None, with_password=password
    )
    with _refused(code=2):
        given = add_person(_records(data), form)
    _say(given or f"{name} is added.")


@user_app.command("list")
def user_list(data: Data = None) -> None:
    """Show everybody."""
    from ringback.access.commands import all_people, person_line

    for person in all_people(_records(data)):
        _say(person_line(person))


@user_app.command("set-role")
def user_set_role(
    name: str,
    role: Annotated[str, typer.Argument(help="administrator billing support noc read-only api")],
    data: Data = None,
    environment: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="They belong to these alone. Else as before.")
    ] = None,
    everywhere: Annotated[
        bool | None, typer.Option(help="An administrator of the whole installation. Else as before.")
    ] = None,
) -> None:
    """Give somebody another role, or other environments."""
    from ringback.access.commands import set_role

    with _refused():
        set_role(_records(data), name, _role(role), tuple(environment) if environment else None, everywhere)
    _say(f"{name} is {role} now.")


@user_app.command("deactivate")
def user_deactivate(name: str, data: Data = None) -> None:
    """End somebody's logins at once, and let them and their tokens in no more."""
    from ringback.access.commands import set_active

    with _refused():
        set_active(_records(data), name, False)
    _say(f"{name} is not active any more.")


@user_app.command("activate")
def user_activate(name: str, data: Data = None) -> None:
    """Let somebody in again who was deactivated."""
    from ringback.access.commands import set_active

    with _refused():
        set_active(_records(data), name, True)
    _say(f"{name} is active.")


@user_app.command("reset-password")
def user_reset_password(name: str, data: Data = None) -> None:
    """Give a user a new random password and print it, this once. All their logins end."""
    from ringback.access.commands import give_password

    with _refused():
        _say(give_password(_records(data), name))


@user_app.command("reset-second-factor")
def user_reset_second_factor(name: str, data: Data = None) -> None:
    """For who lost the authenticator: from the next login on the password is enough."""
    from ringback.access.commands import reset_second_factor

    with _refused():
        reset_second_factor(_records(data), name)
    _say(f"{name} signs in without a second factor now.")


@records_app.command("copy")
def records_copy(
    source: Annotated[str, typer.Option("--from", metavar="URL", help="Where they are. It is not changed.")],
    target: Annotated[
        str, typer.Option("--to", metavar="URL", envvar="RINGBACK_DATABASE_URL", help="An empty database.")
    ],
) -> None:
    """Copy all records to another database: sqlite:////path/records.sqlite, postgresql://user@host/database."""
    from sqlalchemy.exc import DatabaseError

    from ringback.records.copying import CopyRefused, copy_records
    from ringback.records.engine import RecordsUnavailable, reason
    from ringback.records.schema import SchemaTooNew

    try:
        with _copy_bars() as show:
            copied = copy_records(source, target, show)
    except (CopyRefused, RecordsUnavailable, SchemaTooNew) as error:
        _fail(str(error))
    except DatabaseError as error:
        _fail(f"nothing was copied: {reason(error)}")
    for table, rows in copied.items():
        _say(f"{table:20} {rows:>12,}")


@events_app.command("status")
def events_status(data: Data = None) -> None:
    """Show every stored segment. Exit code 1 when one cannot be read."""
    settings = _settings(data)
    from ringback.events import EventStoreError
    from ringback.segments import show_status

    try:
        sound = show_status(settings.store_url, _say)
    except EventStoreError as error:
        _fail(str(error))
    if not sound:
        raise typer.Exit(1)


@events_app.command("repair")
def events_repair(
    segments: Annotated[
        list[str] | None, typer.Argument(metavar="[SEGMENT]...", help="Else all damaged ones.")
    ] = None,
    data: Data = None,
) -> None:
    """Save what can be read of damaged segments. A server may be running."""
    settings = _settings(data)
    from ringback.events import EventStoreError
    from ringback.segments import repair_segments

    try:
        repair_segments(settings.store_url, segments or [], _say)
    except (EventStoreError, ValueError) as error:
        _fail(str(error))


@events_app.command("copy")
def events_copy(
    source: Annotated[str, typer.Option("--from", metavar="URL", help="sqlite:FOLDER or https://...")],
    target: Annotated[
        str, typer.Option("--to", metavar="URL", envvar="RINGBACK_EVENTS_URL", help="The same, of any kind.")
    ],
    today: Annotated[bool, typer.Option("--today", help="Today too: nothing writes to the source any more.")] = False,
    since: Annotated[str | None, typer.Option(metavar="DAY", help="The first day, such as 2026-11-22.")] = None,
    environment: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Else: default.")] = None,
    name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the source is called in the target. Else by its place.")
    ] = None,
) -> None:
    """Copy sessions and log lines to another store. What is copied already is not copied again."""
    from datetime import date

    from ringback.events import EventStoreError
    from ringback.moving import copy_between, source_name

    try:
        first = date.fromisoformat(since) if since else None
    except ValueError:
        _fail(f"--since {since!r} is no day, such as 2026-11-22", code=2)
    try:
        code = copy_between(
            source, target, name=name or source_name(source), environments=environment or ["default"],
            since=first, today=today, say=_say,
        )  # fmt: skip
    except EventStoreError as error:
        _fail(str(error))
    raise typer.Exit(code)


@audit_app.command("verify")
def audit_verify(
    data: Data = None,
    environment: Annotated[list[str] | None, typer.Option(metavar="KEY", help="Else all.")] = None,
    from_anchor: Annotated[
        bool, typer.Option("--from-anchor", help="Only what came after the last signed anchor.")
    ] = False,
    key: Annotated[
        list[Path] | None, typer.Option(metavar="PEM", help="A public key that anchors may be signed by.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prove that no audit record was changed, removed or put in. Exit code 1: one was; 3: it cannot be told."""
    from ringback.audit.commands import verify_chains

    settings, engine = _settings(data), _records(data)
    with _bar("records") as show:
        code = verify_chains(
            engine, settings, environment or [], from_anchor=from_anchor, public_keys=key or [], as_json=as_json,
            say=_say, warn=_warn, progress=lambda _, checked, total: show(total - checked, total),
        )  # fmt: skip
    raise typer.Exit(code)


@audit_app.command("anchor")
def audit_anchor(data: Data = None) -> None:
    """Sign where each chain ends now. The work role does so once a day."""
    from ringback.audit.commands import anchor_chains
    from ringback.audit.keys import AuditKeyUnavailable

    try:
        anchor_chains(_records(data), _settings(data), _say)
    except AuditKeyUnavailable as error:
        _fail(str(error))


@audit_app.command("key")
def audit_key(data: Data = None) -> None:
    """Print the public key of the anchors, for who verifies elsewhere."""
    from ringback.audit.commands import public_key
    from ringback.audit.keys import AuditKeyUnavailable

    try:
        _say(public_key(_settings(data)).rstrip())
    except AuditKeyUnavailable as error:
        _fail(str(error))


@audit_app.command("export")
def audit_export(
    data: Data = None,
    environment: Annotated[str, typer.Option(metavar="KEY", help="Whose audit log.")] = "default",
    filter_: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="NAME=VALUE", help="As in the URL of the search: type=customer, last=180d."),
    ] = None,
) -> None:
    """Write audit records as CSV to standard output."""
    import getpass

    from ringback.audit.commands import export
    from ringback.changes.schemas import Actor
    from ringback.events import EventStoreError

    filters = [(name, value) for name, _, value in (each.partition("=") for each in filter_ or [])]
    try:
        actor = Actor("user", getpass.getuser(), "cli")
        export(_records(data), _settings(data), environment, filters, actor, _say)
    except ValueError as error:
        _fail(str(error), code=2)
    except EventStoreError as error:
        _fail(str(error))


@audit_app.command("rebuild")
def audit_rebuild(
    data: Data = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="DAY", help="Only what was written since that day (UTC), such as 2026-11-22."),
    ] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Drop the copies first: after older records were restored from a backup.")
    ] = False,
) -> None:
    """Copy the audit records to the event store again, where they are searched. A server may be running."""
    from datetime import UTC, date, datetime

    if since and anew:
        _fail("--since keeps the copies of the days before, --anew drops all: leave out one of them", code=2)
    try:
        day = date.fromisoformat(since) if since else None
    except ValueError:
        _fail(f"--since {since!r} is no day, such as 2026-11-22", code=2)
    from sqlalchemy.exc import DatabaseError

    from ringback import clock
    from ringback.audit.relay import rebuild
    from ringback.events import EventStoreError

    since_us = clock.to_us(datetime(day.year, day.month, day.day, tzinfo=UTC)) if day else 0
    settings = _settings(data)
    _records(data).dispose()  # up to date
    try:
        with _bar("audit records") as show:
            count = rebuild(settings, since_us=since_us, anew=anew, progress=show)
    except (EventStoreError, OSError) as error:
        _fail(f"{error} (the same command starts again; a running server goes on where this stopped)")
    except DatabaseError as error:
        _fail(f"the records: {error.orig}")
    _say(f"{count:,} audit records copied to the event store.")


Environment = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="What holds in this environment alone. Else in the whole installation."),
]
As = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="Who does it. Else the login name of the shell.")
]


@config_app.command("get")
def config_get(
    names: Annotated[list[str] | None, typer.Argument(metavar="[OPTION]...", help="Else all.")] = None,
    environment: Environment = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show what holds and why, and what the draft would make of it."""
    with _configuring(data, environment) as configuring:
        configuring.get(names or [], as_json=as_json)


@config_app.command("set")
def config_set(
    name: Annotated[str, typer.Argument(metavar="OPTION")],
    value: Annotated[str | None, typer.Argument(help="Left out with --default, --add and --drop.")] = None,
    default: Annotated[bool, typer.Option("--default", help="Go back to the default.")] = False,
    add: Annotated[bool, typer.Option("--add", help="Add a secret, which is read from standard input.")] = False,
    drop: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Drop a secret; several times for more.")
    ] = None,
    environment: Environment = None,
    who: As = None,
    data: Data = None,
) -> None:
    """Put a value into the draft. Nothing changes before it is verified and applied."""
    if (value is not None) + default + (add or bool(drop)) != 1:
        _fail("give a value, or --default, or --add and --drop", code=2)
    with _configuring(data, environment, who) as configuring:
        if add or drop:
            configuring.drop_keys(name, drop or [], [_secret()] if add else [])
        else:
            configuring.set(name, value, None, [])


@config_app.command("discard")
def config_discard(environment: Environment = None, who: As = None, data: Data = None) -> None:
    """Empty the draft."""
    with _configuring(data, environment, who) as configuring:
        configuring.discard()


@config_app.command("verify")
def config_verify(environment: Environment = None, who: As = None, data: Data = None) -> None:
    """Say what is wrong with the draft, what it would change, and what that touches. Exit code 1 where it is wrong."""
    with _configuring(data, environment, who) as configuring:
        if not configuring.verify():
            raise typer.Exit(1)


@config_app.command("apply")
def config_apply(
    reason: Annotated[str, typer.Option(metavar="WHY", help="Stands in the history and in the audit log.")],
    environment: Environment = None,
    who: As = None,
    data: Data = None,
) -> None:
    """Make the verified draft hold, on all processes within 5 seconds."""
    with _configuring(data, environment, who) as configuring:
        configuring.apply(reason)


@config_app.command("history")
def config_history(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many entries.")] = 20,
    environment: Environment = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show what was applied: when, by whom, why, and each old and new value."""
    with _configuring(data, environment) as configuring:
        configuring.history(limit, as_json=as_json)


@config_app.command("rollback")
def config_rollback(
    entry: Annotated[int, typer.Argument(min=0, help="The entry whose values come back; 0: before the first.")],
    environment: Environment = None,
    who: As = None,
    data: Data = None,
) -> None:
    """Make a draft of what held after an entry of the history, to be verified and applied."""
    with _configuring(data, environment, who) as configuring:
        configuring.roll_back(entry)


@app.command()
def docs(
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Where the documentation is.")] = Path("docs"),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 when a page is not current.")
    ] = False,
) -> None:
    """Write the generated pages of the documentation: the troubleshooting guide, the table of options."""
    from ringback.configuration.guide import PAGE, is_current, write_options
    from ringback.options import OPTIONS
    from ringback.sessions.diagnose.guide import check_guide, write_guide

    guide = folder / "troubleshooting"
    if not check:
        for path in write_guide(guide):
            _say(str(path))
        _say(str(write_options(folder, OPTIONS)))
        return
    stale = [guide / name for name in check_guide(guide)]
    if not is_current(folder, OPTIONS):
        stale.append(folder / PAGE)
    for path in stale:
        _say(f"{path} is not current; `ringback docs` writes it")
    if stale:
        raise typer.Exit(1)


@app.command()
def version() -> None:
    """Print the version."""
    from ringback import __version__

    _say(__version__)


def main() -> None:
    app()


def _settings(data: Path | None, **options: str | None) -> Settings:
    from ringback.settings import SettingsError, load_settings

    folder = data
    if folder is None and "RINGBACK_DATA" not in os.environ and Path("data").is_dir():
        folder = Path("data")
    try:
        return load_settings(os.environ, data=folder, **options)
    except SettingsError as error:
        _fail(str(error), code=2)


def _records(data: Path | None) -> Engine:
    """The records, up to date."""
    from sqlalchemy.exc import DatabaseError

    from ringback.composition import compose
    from ringback.records.engine import RecordsUnavailable, open_engine
    from ringback.records.schema import SchemaTooNew, migrate

    settings = _settings(data)
    compose(settings)
    try:
        engine = open_engine(settings.records_url)
        migrate(engine)
    except (RecordsUnavailable, SchemaTooNew) as error:
        _fail(str(error))
    except DatabaseError as error:
        _fail(f"the records cannot be brought up to date: {error.orig}")
    return engine


@contextmanager
def _refused(code: int = 1) -> Iterator[None]:
    """What cannot be done with people and tokens is said."""
    from ringback.access.schemas import AccessError

    try:
        yield
    except AccessError as error:
        _fail(error.reason, code=code)


def _role(word: str) -> Role:
    from ringback.access.permissions import Role

    try:
        return Role(word)
    except ValueError:
        _fail(f"{word!r} is no role: there are {', '.join(Role)}", code=2)


@contextmanager
def _configuring(data: Path | None, environment: str | None, who: str | None = None) -> Iterator[Configuring]:
    from getpass import getuser

    from sqlalchemy.exc import DatabaseError

    from ringback.configuration.schemas import ConfigurationError
    from ringback.configuring import Configuring
    from ringback.records.engine import reason

    records = _records(data)
    try:
        yield Configuring(records, _settings(data), environment, who or getuser(), _say)
    except ConfigurationError as error:
        _fail(str(error))
    except DatabaseError as error:
        _fail(f"the records: {reason(error)}")
    finally:
        records.dispose()


def _secret() -> str:
    """Asked for without an echo where a person types it."""
    if sys.stdin.isatty():
        from getpass import getpass

        return getpass("Secret: ")
    return sys.stdin.read().strip()


@contextmanager
def _copy_bars() -> Iterator[Callable[[CopyProgress], None]]:
    """A bar for each table on standard error, where a person waits."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bars:
        tasks: dict[str, TaskID] = {}

        def show(progress: CopyProgress) -> None:
            if progress.table not in tasks:
                tasks[progress.table] = bars.add_task(progress.table, total=progress.total)
            bars.update(tasks[progress.table], completed=progress.rows)

        yield show


@contextmanager
def _bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, where a person waits; it hears (how many are left, of all)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bars:
        task = bars.add_task(name)
        yield lambda left, every: bars.update(task, completed=max(every - left, 0), total=every)


def _say(line: str) -> None:
    """To standard output, at once: a script may be waiting for the line."""
    print(line, flush=True)


def _warn(reason: str) -> None:
    print(f"ringback: {reason}", file=sys.stderr)


def _fail(reason: str, code: int = 1) -> NoReturn:
    _warn(reason)
    raise typer.Exit(code)


if __name__ == "__main__":
    main()
