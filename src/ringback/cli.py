"""The commands. Nothing heavy is imported before the command that needs it runs: `explain` has to be quick.

Exit codes: 0 fine; 1 something is wrong with the input, the server or the data (said on standard error); 2 wrong usage.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ringback.commands.audit import audit
from ringback.commands.billing import billing
from ringback.commands.config import config
from ringback.commands.people import tokens, users
from ringback.commands.shell import AsJson, Data, fail, say, settings_of
from ringback.commands.stores import events, records

app = typer.Typer(
    name="ringback",
    help="Tells why a call failed, and what to do about it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for word, commands in (
    ("audit", audit), ("billing", billing), ("config", config), ("records", records), ("token", tokens), ("user", users),
    ("events", events),
):  # fmt: skip
    app.add_typer(commands, name=word)

Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="pcap or pcapng, also gzipped.")]


class OneRole(StrEnum):
    web = "web"
    collect = "collect"
    work = "work"
    engine = "engine"


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
    engine: Annotated[
        str | None, typer.Option(metavar="ADDRESS:PORT", help="Where nodes ask the billing engine.")
    ] = None,
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

    settings = settings_of(
        data, web=web, hep_udp=hep, hep_tcp=hep_tcp, hep_tls=hep_tls, tls_cert=tls_cert, tls_key=tls_key, admin=admin,
        engine=engine,
    )  # fmt: skip
    configure_logs(settings.log_format, "serve")
    try:
        run(settings, list(dict.fromkeys(each.value for each in role)) if role else ROLES, say=say)
    except CannotServe as error:
        fail(str(error))


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
    settings = settings_of(data)
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
        fail("give an API token in RINGBACK_TOKEN (ringback token create NAME makes one)", code=2)
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
    engine: Annotated[str, typer.Option(metavar="ADDRESS:PORT")] = "127.0.0.1:8082",
) -> None:
    """Run a console full of recorded calls, until Ctrl-C."""
    from ringback.demo.run import run_demo
    from ringback.logs import configure_logs
    from ringback.serve import CannotServe
    from ringback.settings import SettingsError

    configure_logs("auto", "serve")
    try:
        run_demo(data, web, hep, engine, say=say)
    except SettingsError as error:
        fail(str(error), code=2)
    except CannotServe as error:
        fail(str(error))


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
            say(str(path))
        say(str(write_options(folder, OPTIONS)))
        return
    stale = [guide / name for name in check_guide(guide)]
    if not is_current(folder, OPTIONS):
        stale.append(folder / PAGE)
    for path in stale:
        say(f"{path} is not current; `ringback docs` writes it")
    if stale:
        raise typer.Exit(1)


@app.command()
def version() -> None:
    """Print the version."""
    from ringback import __version__

    say(__version__)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
