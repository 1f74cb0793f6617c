"""Settings come from options, then RINGBACK_*, then defaults; what cannot be used is told with its variable."""

from __future__ import annotations

import pickle
import re
import socket
from ipaddress import ip_network
from pathlib import Path

import pytest

from ringback.listen import (
    RECEIVE_BUFFER,
    Endpoint,
    ListenError,
    bound_endpoint,
    parse_endpoint,
    tcp_socket,
    udp_socket,
)
from ringback.settings import Settings, SettingsError, load_settings, setting_infos

ADMINISTRATION = Path(__file__).parents[2] / "docs" / "administration.md"


def load(environ: dict[str, str] | None = None, **options: str | None) -> Settings:
    return load_settings(environ or {}, **({"data": "/srv/ringback"} | options))


def test_defaults_listen_on_this_machine_only() -> None:
    settings = load()
    endpoints = [settings.web, *settings.hep_udp, *settings.hep_tcp, *settings.hep_tls]
    assert [str(each) for each in endpoints] == ["127.0.0.1:8080", "127.0.0.1:9060", "127.0.0.1:9060"]
    assert all(each.is_loopback for each in endpoints)
    assert settings.records_url == "sqlite:////srv/ringback/records.sqlite"
    assert settings.store_url == "sqlite:/srv/ringback/events"


def test_an_option_outweighs_the_environment() -> None:
    environ = {"RINGBACK_WEB": "127.0.0.1:1", "RINGBACK_DATA": "/elsewhere", "RINGBACK_SHARE_DAYS": "9"}
    settings = load(environ, web="127.0.0.1:2", tls_cert=None)
    assert settings.web.port == 2
    assert settings.data == Path("/srv/ringback")
    assert settings.share_days == 9


def test_tcp_listens_where_udp_does_unless_told_otherwise() -> None:
    assert load(hep_udp="[::1]:9070").hep_tcp == (Endpoint("::1", 9070),)
    assert load(hep_udp="[::1]:9070", hep_tcp="").hep_tcp == ()
    assert load({"RINGBACK_HEP_TCP": "127.0.0.1:7"}, hep_udp="[::1]:9070").hep_tcp == (Endpoint("127.0.0.1", 7),)


def test_lists_are_written_with_commas() -> None:
    settings = load({"RINGBACK_HEP_ALLOW": "192.0.2.7, 10.1.2.3/8", "RINGBACK_HEP": "127.0.0.1:1,[::1]:2"})
    assert settings.hep_allow == (ip_network("192.0.2.7/32"), ip_network("10.0.0.0/8"))
    assert settings.hep_udp == (Endpoint("127.0.0.1", 1), Endpoint("::1", 2))


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("RINGBACK_WEB", "8080", "no address:port"),
        ("RINGBACK_WEB", "127.0.0.1:65536", "no address:port"),
        ("RINGBACK_WEB", "::1:8080", "in brackets"),
        ("RINGBACK_WEB", "example.net:80", "0.0.0.0:80"),
        ("RINGBACK_HEP", "127.0.0.1:9060,oops", "no address:port"),
        ("RINGBACK_HEP_ALLOW", "office", "no address or network"),
        ("RINGBACK_TRUSTED_PROXIES", "10.0.0.0/33", "no address or network"),
        ("RINGBACK_KEEP_SESSIONS_DAYS", "0", "from 1 to 3650"),
        ("RINGBACK_KEEP_SESSIONS_DAYS", "half a year", "whole number"),
        ("RINGBACK_KEEP_LOGS_DAYS", "180", "Tasks.Log_Max_Age"),
        ("RINGBACK_SHARE_DAYS", "31", "from 1 to 30"),
        ("RINGBACK_UPLOAD_MIB", "-1", "whole number"),
        ("RINGBACK_PUBLIC_URL", "ringback.example.net", "address of a site"),
        ("RINGBACK_PUBLIC_URL", "https://example.net/path", "address of a site"),
        ("RINGBACK_LOG_FORMAT", "xml", "none of auto, json, console"),
        ("RINGBACK_HEP_TLS", "127.0.0.1:9061", "RINGBACK_TLS_CERT"),
        ("RINGBACK_DATA", "", "which folder"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_variable(variable: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        load_settings({"RINGBACK_DATA": "/srv/ringback", variable: value})
    assert caught.value.variable == variable


def test_secrets_do_not_show() -> None:
    settings = load({"RINGBACK_HEP_KEY": "s3cret", "RINGBACK_DATABASE_URL": "postgresql://u:s3cret@host/db"})
    assert "s3cret" not in repr(settings)


def test_settings_travel_to_a_child_process() -> None:
    settings = load({"RINGBACK_HEP_ALLOW": "10.0.0.0/8", "RINGBACK_HEP_KEY": "key"})
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_every_setting_is_documented_with_its_default() -> None:
    text = ADMINISTRATION.read_text()
    rows = dict(re.findall(r"^\| `(RINGBACK_\w+)` \| ([^|]*) \|", text, re.MULTILINE))
    expected = {each.variable: f"`{each.default}`" if each.default else "" for each in setting_infos()}
    assert {variable: shown.strip() for variable, shown in rows.items()} == expected


# Sockets


def test_port_0_is_picked_and_known() -> None:
    with udp_socket(Endpoint("127.0.0.1", 0)) as udp, tcp_socket(parse_endpoint("localhost:0")) as tcp:
        for bound in (udp, tcp):
            endpoint = bound_endpoint(bound)
            assert endpoint.host == "127.0.0.1"
            assert endpoint.port > 0
            assert endpoint.fd == bound.fileno()


def test_an_inherited_socket_is_used_as_it_is() -> None:
    with udp_socket(Endpoint("127.0.0.1", 0)) as first:
        endpoint = bound_endpoint(first)
        first.detach()
        with udp_socket(endpoint) as inherited:
            assert bound_endpoint(inherited) == endpoint


def test_udp_asks_for_a_large_buffer() -> None:
    with udp_socket(Endpoint("127.0.0.1", 0)) as bound, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        granted = bound.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        # With CAP_NET_ADMIN all of it (the kernel tells the double), else what net.core.rmem_max allows.
        assert granted in (2 * RECEIVE_BUFFER, plain.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))


def test_a_taken_address_is_told() -> None:
    with (
        tcp_socket(Endpoint("127.0.0.1", 0)) as first,
        pytest.raises(ListenError, match=r"TCP 127\.0\.0\.1:\d+: Address already in use.*port 0"),
    ):
        tcp_socket(Endpoint("127.0.0.1", bound_endpoint(first).port))
