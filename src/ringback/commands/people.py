"""`ringback user` and `ringback token`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ringback.commands.shell import Data, fail, group, records_of, say

if TYPE_CHECKING:
    from ringback.access.permissions import Role

users = group("People who sign in.")
tokens = group("API tokens (Authorization: Bearer ...).")


@tokens.command("create")
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
        say(commands.make_token(records_of(data), name, expires, environments, scopes, user))


@tokens.command("list")
def token_list(data: Data = None) -> None:
    """Show every token, without its secret."""
    from ringback.access.commands import token_lines

    for line in token_lines(records_of(data)):
        say(line)


@tokens.command("revoke")
def token_revoke(
    name: str,
    data: Data = None,
    user: Annotated[str | None, typer.Option(metavar="NAME", help="Whose it is. Else the installation's.")] = None,
) -> None:
    """End a token at once."""
    from ringback.access.commands import end_token

    with _refused():
        end_token(records_of(data), name, user)
    say(f"The token {name} is revoked.")


@users.command("add")
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
        given = add_person(records_of(data), form)
    say(given or f"{name} is added.")


@users.command("list")
def user_list(data: Data = None) -> None:
    """Show everybody."""
    from ringback.access.commands import all_people, person_line

    for person in all_people(records_of(data)):
        say(person_line(person))


@users.command("set-role")
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
        set_role(records_of(data), name, _role(role), tuple(environment) if environment else None, everywhere)
    say(f"{name} is {role} now.")


@users.command("deactivate")
def user_deactivate(name: str, data: Data = None) -> None:
    """End somebody's logins at once, and let them and their tokens in no more."""
    from ringback.access.commands import set_active

    with _refused():
        set_active(records_of(data), name, False)
    say(f"{name} is not active any more.")


@users.command("activate")
def user_activate(name: str, data: Data = None) -> None:
    """Let somebody in again who was deactivated."""
    from ringback.access.commands import set_active

    with _refused():
        set_active(records_of(data), name, True)
    say(f"{name} is active.")


@users.command("reset-password")
def user_reset_password(name: str, data: Data = None) -> None:
    """Give a user a new random password and print it, this once. All their logins end."""
    from ringback.access.commands import give_password

    with _refused():
        say(give_password(records_of(data), name))


@users.command("reset-second-factor")
def user_reset_second_factor(name: str, data: Data = None) -> None:
    """For who lost the authenticator: from the next login on the password is enough."""
    from ringback.access.commands import reset_second_factor

    with _refused():
        reset_second_factor(records_of(data), name)
    say(f"{name} signs in without a second factor now.")


@contextmanager
def _refused(code: int = 1) -> Iterator[None]:
    """What cannot be done with people and tokens is said."""
    from ringback.access.schemas import AccessError

    try:
        yield
    except AccessError as error:
        fail(error.reason, code=code)


def _role(word: str) -> Role:
    from ringback.access.permissions import Role

    try:
        return Role(word)
    except ValueError:
        fail(f"{word!r} is no role: there are {', '.join(Role)}", code=2)
