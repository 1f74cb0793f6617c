"""RINGBACK_EVENTS_URL of an engine: where it is, how it is asked, and how indices are made.

``https://user:password@host1:9200,host2:9200/path?ca=FILE&prefix=ringback&replicas=1``
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from ringback.events.store import EventStoreError

_PORT = 9200
_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>\d{1,5}))?")
_PREFIX = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_MOST = 1000


@dataclass(frozen=True, slots=True)
class Address:
    """What RINGBACK_EVENTS_URL says. Its repr shows no secret."""

    secure: bool
    hosts: tuple[tuple[str, int], ...]
    path: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)
    ca: Path | None = None
    prefix: str = "ringback"
    shards: int = 1
    replicas: int | None = None  # None: one where the cluster has a node for it
    refresh: bool = False  # every write is searchable when it returns

    @property
    def shown(self) -> str:
        """Fit for errors and logs."""
        return ", ".join(f"{host}:{port}" for host, port in self.hosts)

    @classmethod
    def parsed(cls, url: str) -> Address:
        """Raises EventStoreError that says what is wrong and repeats nothing that may be secret."""
        try:
            parts = urlsplit(url)
            credentials, _, hosts = parts.netloc.rpartition("@")
            user, _, password = credentials.partition(":")
            options = _options(parts.query)
            if parts.fragment:
                raise ValueError("a # in the password is written %23, elsewhere there is none")
            address = cls(
                secure=parts.scheme == "https",
                hosts=_hosts(hosts),
                path=parts.path.strip("/"),
                user=unquote(user),
                password=_one_of("password", unquote(password), _content(options, "password_file")),
                api_key=_one_of("api_key", options.pop("api_key", ""), _content(options, "api_key_file")),
                ca=_file(options, "ca"),
                prefix=options.pop("prefix", "ringback"),
                shards=_whole(options, "shards", 1) or 1,
                replicas=_whole(options, "replicas", 0),
                refresh=_flag(options, "refresh"),
            )
            address._check(options)
        except ValueError as error:
            raise EventStoreError(f"RINGBACK_EVENTS_URL: {error}") from None
        return address

    def _check(self, left: dict[str, str]) -> None:
        if left:
            raise ValueError(
                f"unknown option {min(left)!r}; there are: api_key, api_key_file, ca, password_file, prefix, refresh,"
                " replicas, shards"
            )
        if not _PREFIX.fullmatch(self.prefix):
            raise ValueError(
                "prefix: small letters, digits, dots, dashes and underscores, beginning with a letter or digit"
            )
        if self.api_key and self.user:
            raise ValueError("a user or an API key, not both")
        if self.password and not self.user:
            raise ValueError("a password without a user")
        if self.ca and not self.secure:
            raise ValueError("ca is for https")


def _hosts(text: str) -> tuple[tuple[str, int], ...]:
    hosts = []
    for part in text.split(","):
        found = _HOST.fullmatch(part)
        if found is None or not 0 < (port := int(found["port"] or _PORT)) < 65536:
            raise ValueError("write https://USER:PASSWORD@HOST:PORT,HOST:PORT/?OPTION=VALUE; a host is not readable")
        hosts.append((found["six"] or found["name"], port))
    return tuple(hosts)


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)):
        if name in options:
            raise ValueError(f"{name!r} is given twice")
        options[name] = value
    return options


def _one_of(name: str, value: str, from_file: str) -> str:
    if value and from_file:
        raise ValueError(f"{name} or {name}_file, not both")
    return value or from_file


def _file(options: dict[str, str], name: str) -> Path | None:
    text = options.pop(name, "")
    if not text:
        return None
    path = Path(text)
    if not path.is_file():
        raise ValueError(f"{name}: no file {text}")
    return path


def _content(options: dict[str, str], name: str) -> str:
    path = _file(options, name)
    if path is None:
        return ""
    try:
        content = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{name}: {path} cannot be read: {error}") from None
    if not content:
        raise ValueError(f"{name}: {path} is empty")
    return content


def _whole(options: dict[str, str], name: str, least: int) -> int | None:
    text = options.pop(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and least <= int(text) <= _MOST):
        raise ValueError(f"{name}: a whole number from {least} to {_MOST}")
    return int(text)


def _flag(options: dict[str, str], name: str) -> bool:
    text = options.pop(name, "false")
    if text not in ("true", "false"):
        raise ValueError(f"{name}: true or false")
    return text == "true"
