# ruff: noqa: RUF009 -- _setting() returns dataclasses.field(), made once per setting as it should be
"""Everything an operator can set, in one place: environment variables RINGBACK_*, overridden by command options.

Each setting says its variable, how its text is read and what it means; docs/administration.md must name every one.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ringback.listen import Endpoint, parse_endpoint

Network = IPv4Network | IPv6Network
_MIB = 1024 * 1024


# Variables of earlier versions -> what to do. Ignored in silence they would lose data, or let somebody in.
_GONE = {
    "RINGBACK_KEEP_LOGS_DAYS": "is gone, the option Tasks.Log_Max_Age (30 days at the least, 180 where nothing is applied)"
    " says how long logs are kept. Unset the variable; where 180 days do not suit, before the server starts: "
    "ringback config set Tasks.Log_Max_Age DAYS && ringback config verify && ringback config apply --reason WHY",
}


class SettingsError(ValueError):
    """A setting that cannot be used: which, why and what would do."""

    def __init__(self, variable: str, reason: str) -> None:
        super().__init__(f"{variable}: {reason}")
        self.variable = variable
        self.reason = reason


def _endpoints(text: str) -> tuple[Endpoint, ...]:
    return tuple(parse_endpoint(part) for part in text.split(",") if part.strip())


def _optional_endpoint(text: str) -> Endpoint | None:
    return parse_endpoint(text) if text.strip() else None


def _networks(text: str) -> tuple[Network, ...]:
    networks = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        try:
            networks.append(ip_network(part, strict=False))
        except ValueError:
            raise ValueError(f"{part!r} is no address or network, such as 192.0.2.10 or 10.0.0.0/8") from None
    return tuple(networks)


def _path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _optional_path(text: str) -> Path | None:
    return _path(text) if text else None


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
            raise ValueError(f"{text!r} is no whole number from {least} to {most}")
        return int(text)

    return read


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"{text!r} is none of {', '.join(words)}")
        return text

    return read


def _public_url(text: str) -> str:
    parts = urlsplit(text)
    if text and (parts.scheme not in {"http", "https"} or not parts.netloc or parts.path not in {"", "/"}):
        raise ValueError(f"{text!r} is no address of a site, such as https://ringback.example.net")
    return text.rstrip("/")


def _setting(
    variable: str, read: Callable[[str], Any], default: str | None, meaning: str, *, secret: bool = False
) -> Any:
    """A field read from `variable`; `default` is the text that stands for an unset one (None: it must be given)."""
    metadata = {"variable": variable, "read": read, "default": default, "meaning": meaning}
    if default is None:
        return field(metadata=metadata)
    return field(default=read(default), metadata=metadata, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One installation's settings, all valid."""

    data: Path = _setting("RINGBACK_DATA", _path, None, "the data folder: records, events, run-time state")
    web: Endpoint = _setting("RINGBACK_WEB", parse_endpoint, "127.0.0.1:8080", "address:port of pages and API")
    engine: Endpoint = _setting(
        "RINGBACK_ENGINE", parse_endpoint, "127.0.0.1:8082", "address:port where nodes ask the billing engine"
    )
    engine_processes: int = _setting(
        "RINGBACK_ENGINE_PROCESSES", _whole(0, 64), "0",
        "processes that answer nodes; 0: one a core, two where the records are on another host; two at least, eight at most",
    )  # fmt: skip
    admin: Endpoint | None = _setting(
        "RINGBACK_ADMIN", _optional_endpoint, "",
        "address:port of /healthz, /readyz and /metrics of a server without pages; unset: 127.0.0.1:9091 where the web"
        " role does not run, else nowhere",
    )  # fmt: skip
    host: str = _setting(
        "RINGBACK_HOST", str, "", "what this host is called beside others; unset: the machine's name"
    )
    drain_seconds: int = _setting(
        "RINGBACK_DRAIN_SECONDS", _whole(0, 300), "0",
        "seconds that a stopping web role goes on answering while /readyz says no, for load balancers to notice",
    )  # fmt: skip
    hep_udp: tuple[Endpoint, ...] = _setting(
        "RINGBACK_HEP", _endpoints, "127.0.0.1:9060", "where HEP over UDP is received; several, with commas"
    )
    hep_tcp: tuple[Endpoint, ...] = _setting(
        "RINGBACK_HEP_TCP", _endpoints, "127.0.0.1:9060",
        "where HEP over TCP is received; unset: the addresses of RINGBACK_HEP; empty: nowhere",
    )  # fmt: skip
    hep_tls: tuple[Endpoint, ...] = _setting(
        "RINGBACK_HEP_TLS", _endpoints, "", "where HEP over TLS is received; needs certificate and key"
    )
    hep_key: str = _setting(
        "RINGBACK_HEP_KEY",
        str,
        "",
        "authentication key every HEP sender must give (chunk 0x000e), until Capture.HEP_Keys is applied",
        secret=True,
    )
    hep_allow: tuple[Network, ...] = _setting(
        "RINGBACK_HEP_ALLOW", _networks, "", "addresses and networks HEP is taken from; empty: any"
    )
    hep_workers: int = _setting(
        "RINGBACK_HEP_WORKERS", _whole(0, 64), "0", "processes that decode and store HEP; 0: one a core, four at most"
    )
    spool_bytes: int = _setting(
        "RINGBACK_SPOOL_BYTES", _whole(0, 1 << 50), str(4 * 1024 * _MIB),
        "bytes on disk that HEP over UDP may wait in when it comes faster than it can be stored; 0: none",
    )  # fmt: skip
    correlation: Path | None = _setting(
        "RINGBACK_CORRELATION",
        _optional_path,
        "",
        "TOML file of your own headers and Call-ID suffixes that link legs; unset: DATA/correlation.toml where it exists",
    )
    tls_cert: Path | None = _setting(
        "RINGBACK_TLS_CERT", _optional_path, "", "PEM file: certificate chain for HEP/TLS"
    )
    tls_key: Path | None = _setting("RINGBACK_TLS_KEY", _optional_path, "", "PEM file: private key for HEP/TLS")
    public_url: str = _setting(
        "RINGBACK_PUBLIC_URL", _public_url, "", "the site as browsers name it, where a reverse proxy changes Host"
    )
    trusted_proxies: tuple[Network, ...] = _setting(
        "RINGBACK_TRUSTED_PROXIES", _networks, "127.0.0.1,::1",
        "reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed",
    )  # fmt: skip
    keep_sessions_days: int = _setting(
        "RINGBACK_KEEP_SESSIONS_DAYS",
        _whole(1, 3650),
        "30",
        "days that captured sessions are kept, until Sessions.Max_Age is applied",
    )
    share_days: int = _setting(
        "RINGBACK_SHARE_DAYS",
        _whole(1, 30),
        "7",
        "days a share link lives unless told otherwise, until Sessions.Share_Link_Life is applied",
    )
    upload_mib: int = _setting(
        "RINGBACK_UPLOAD_MIB", _whole(1, 1024 * 1024), "1024", "largest capture that may be uploaded"
    )
    issues: Path | None = _setting(
        "RINGBACK_ISSUES", _optional_path, "", "folder of your own issues (TOML); unset: DATA/issues where it exists"
    )
    database_url: str = _setting(
        "RINGBACK_DATABASE_URL",
        str,
        "",
        "where the records are: postgresql://user@host/database, or sqlite:////path; empty: SQLite in the data folder",
        secret=True,
    )
    events_url: str = _setting(
        "RINGBACK_EVENTS_URL", str, "", "the event store; empty: SQLite segments in the data folder", secret=True
    )
    secrets_key: Path | None = _setting(
        "RINGBACK_SECRETS_KEY", _optional_path, "",
        "file of the keys that seal secrets in the records; the same on every host; unset: DATA/keys/secrets.key",
    )  # fmt: skip
    audit_key: Path | None = _setting(
        "RINGBACK_AUDIT_KEY", _optional_path, "",
        "file of the private key that signs the audit log's anchors; unset: DATA/keys/audit.pem",
    )  # fmt: skip
    oidc_issuer: str = _setting(
        "RINGBACK_OIDC_ISSUER",
        str,
        "",
        "single sign-on: the issuer of your OpenID Provider, exactly as it calls itself",
    )
    oidc_client_id: str = _setting("RINGBACK_OIDC_CLIENT_ID", str, "", "the client id that it knows Ringback by")
    oidc_client_secret: str = _setting(
        "RINGBACK_OIDC_CLIENT_SECRET", str, "", "the secret of that client", secret=True
    )
    oidc_name: str = _setting("RINGBACK_OIDC_NAME", str, "single sign-on", "what the button on the login page says")
    oidc_scopes: str = _setting(
        "RINGBACK_OIDC_SCOPES", str, "openid email profile", "scopes that are asked for, with spaces between"
    )
    oidc_groups_claim: str = _setting(
        "RINGBACK_OIDC_GROUPS_CLAIM", str, "groups", "the claim of the id token that lists a person's groups"
    )
    oidc_grants: str = _setting(
        "RINGBACK_OIDC_GRANTS", str, "",
        "what groups give, such as noc-team=noc@default,acme; it=administrator@*; empty: an administrator makes people",
    )  # fmt: skip
    log_format: str = _setting(
        "RINGBACK_LOG_FORMAT",
        _one_of("auto", "json", "console"),
        "auto",
        "auto: console on a terminal, else JSON lines",
    )

    def __post_init__(self) -> None:
        if self.hep_tls and not (self.tls_cert and self.tls_key):
            raise SettingsError("RINGBACK_HEP_TLS", "needs RINGBACK_TLS_CERT and RINGBACK_TLS_KEY")
        if self.oidc_issuer and not (self.oidc_client_id and self.oidc_client_secret):
            raise SettingsError(
                "RINGBACK_OIDC_ISSUER", "needs RINGBACK_OIDC_CLIENT_ID and RINGBACK_OIDC_CLIENT_SECRET"
            )
        if self.oidc_issuer and urlsplit(self.oidc_issuer).scheme not in ("http", "https"):
            raise SettingsError(
                "RINGBACK_OIDC_ISSUER", f"{self.oidc_issuer!r} is no URL such as https://login.example.net"
            )

    @property
    def records_url(self) -> str:
        return self.database_url or f"sqlite:///{self.data / 'records.sqlite'}"

    @property
    def host_name(self) -> str:
        return (self.host or socket.gethostname())[:255]

    @property
    def events_folder(self) -> Path:
        return self.data / "events"

    @property
    def store_url(self) -> str:
        """For `ringback.events.open_store`."""
        return self.events_url or f"sqlite:{self.events_folder}"

    @property
    def run_folder(self) -> Path:
        """Locks, addresses and counters of the running server; nothing in it outlives it in value."""
        return self.data / "run"

    @property
    def secrets_key_file(self) -> Path:
        return self.secrets_key or self.data / "keys" / "secrets.key"

    @property
    def audit_key_file(self) -> Path:
        return self.audit_key or self.data / "keys" / "audit.pem"

    @property
    def spool_folder(self) -> Path:
        return self.data / "spool"

    @property
    def correlation_file(self) -> Path | None:
        """What `ringback.sessions.keys.load_rules` reads; None: the defaults hold."""
        default = self.data / "correlation.toml"
        return self.correlation or (default if default.exists() else None)

    @property
    def issues_folder(self) -> Path | None:
        """For `load_catalogue`: the operator's own issues, None where there are none."""
        usual = self.data / "issues"
        return self.issues or (usual if usual.is_dir() else None)

    @property
    def upload_bytes(self) -> int:
        return self.upload_mib * _MIB


@dataclass(frozen=True, slots=True)
class SettingInfo:
    """One row of the settings table."""

    name: str
    variable: str
    default: str | None
    meaning: str


def setting_infos() -> list[SettingInfo]:
    return [
        SettingInfo(each.name, each.metadata["variable"], each.metadata["default"], each.metadata["meaning"])
        for each in fields(Settings)
    ]


def load_settings(environ: Mapping[str, str], **options: str | Path | None) -> Settings:
    """Options (by field name, None: not given) before `environ` before defaults. Raises SettingsError."""
    for variable, remedy in _GONE.items():
        if variable in environ:
            raise SettingsError(variable, remedy)
    known = {each.name: each for each in fields(Settings)}
    texts = {
        name: environ[each.metadata["variable"]]
        for name, each in known.items()
        if each.metadata["variable"] in environ
    }
    texts |= {known[name].name: str(value) for name, value in options.items() if value is not None}
    if "hep_udp" in texts:
        texts.setdefault("hep_tcp", texts["hep_udp"])
    if not texts.get("data"):
        raise SettingsError("RINGBACK_DATA", "say which folder holds the data, for example --data /var/lib/ringback")
    values = {}
    for name, text in texts.items():
        try:
            values[name] = known[name].metadata["read"](text.strip())
        except ValueError as error:
            raise SettingsError(known[name].metadata["variable"], str(error)) from error
    return Settings(**values)
