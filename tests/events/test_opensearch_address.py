"""RINGBACK_EVENTS_URL of an engine: read, refused with what is wrong, and used with its secrets kept."""

from __future__ import annotations

import logging
import ssl
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
from between import Answer, Between, Engine, between
from event_rows import found, leg, write

from ringback.events import EventStore, EventStoreError, StoreAway, open_store
from ringback.events.opensearch import Address

OpenStore = Callable[[str], EventStore]


def test_an_address_says_all_there_is_to_say(tmp_path: Path) -> None:
    ca, password = tmp_path / "ca.pem", tmp_path / "password"
    ca.write_text("pem")
    password.write_text("p@ss:w/rd\n")
    address = Address.parsed(
        f"https://ring%40back@os1.example:9201,[2001:db8::7],10.0.0.3/os/?ca={ca}&password_file={password}"
        "&prefix=acme-sip&replicas=0&shards=3&refresh=true"
    )
    assert address.hosts == (("os1.example", 9201), ("2001:db8::7", 9200), ("10.0.0.3", 9200))
    assert (address.secure, address.path, address.user, address.password) == (True, "os", "ring@back", "p@ss:w/rd")
    assert (address.ca, address.prefix, address.replicas, address.shards) == (ca, "acme-sip", 0, 3)
    assert address.refresh
    assert "w/rd" not in repr(address)
    assert Address.parsed("http://u:p%40%23@h").password == "p@#"
    assert Address.parsed("http://h:9200").replicas is None


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("http://", "host"),
        ("http://h:99999", "host"),
        ("http://h o/", "host"),
        ("http://u:hunter2@h,,i", "host"),
        ("http://u:hunter2@h/?hunter2=1", "unknown option"),
        ("http://u:hunter2@h/?prefix=a&prefix=b", "twice"),
        ("http://u:hunter2@h/?prefix=Big", "prefix"),
        ("http://u:hunter2@h/?prefix=a,b", "prefix"),
        ("http://u:hunter2@h/?prefix=*", "prefix"),
        ("http://u:hunter2@h/?replicas=-1", "replicas"),
        ("http://u:hunter2@h/?shards=0", "shards"),
        ("http://u:hunter2@h/?refresh=maybe", "refresh"),
        ("http://u:hunter2@h/?api_key=hunter2", "not both"),
        ("http://:hunter2@h/", "without a user"),
        ("http://u:hunter2@h/?ca=/nowhere/ca.pem", "no file"),
        ("http://u@h/?password_file=/nowhere/hunter", "no file"),
        ("http://u:hunter2@h/?ca=" + __file__, "https"),
        ("http://u:hun#ter2@h/", "%23"),
        ("htps://u:hunter2@h", "'htps'"),
        ("postgresql:u:hunter2@h", "'postgresql'"),
    ],
)
def test_what_is_wrong_with_an_address_is_told_without_its_password(url: str, wrong: str) -> None:
    with pytest.raises(EventStoreError, match="RINGBACK_EVENTS_URL") as told:
        open_store(url)
    assert wrong in str(told.value)
    assert "hunter2" not in str(told.value).replace("unknown option 'hunter2'", "")


def test_a_user_and_an_api_key_are_shown_to_the_engine_alone(
    engine: Engine, before: Between, open_url: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="ringback")
    with_user = open_url(before.url.replace("://", "://ringback:hunt%20er2@") + f"/?{engine.options}")
    write(with_user, leg(1))
    kind, _, secret = before.asked[-1].headers["authorization"].partition(" ")
    assert (kind, b64decode(secret)) == ("Basic", b"ringback:hunt er2")
    with_key = open_url(f"{before.url}/?{engine.options}&api_key=hunter2%3D%3D")
    assert found(with_key) == ["1"]
    assert before.asked[-1].headers["authorization"] == "ApiKey hunter2=="
    before.interfere = lambda asked, engine: Answer(500, {"error": {"type": "x", "reason": "broken"}})
    with pytest.raises(EventStoreError) as told:
        found(with_key)
    assert "hunter2" not in str(told.value) + caplog.text
    assert not caplog.records


def test_an_engine_behind_tls_is_trusted_by_its_own_authority(
    tmp_path: Path, engine: Engine, open_url: OpenStore
) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    make += [
        "-subj",
        "/CN=127.0.0.1",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    subprocess.run(make, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with between(engine.address, tls=tls) as behind:
        store = open_url(f"{behind.url}/path/?ca={certificate}&{engine.options}".replace("/path", ""))
        write(store, leg(1))
        assert found(store) == ["1"]
        store.close()
        stranger = open_url(f"{behind.url}/?{engine.options}")
        with pytest.raises(StoreAway, match=r"TLS failed .*ca=FILE"):
            found(stranger)


def test_a_proxy_may_keep_the_engine_under_a_path(engine: Engine, before: Between, open_url: OpenStore) -> None:
    def interfere(asked: object, forward: Callable[[], Answer]) -> Answer:
        request = before.asked[-1]
        assert request.path.startswith("/search/engine/")
        request.path = request.path.removeprefix("/search/engine")
        return forward()

    before.interfere = interfere
    store = open_url(f"{before.url}/search/engine?{engine.options}")
    write(store, leg(1))
    assert found(store) == ["1"]


def test_the_embedded_store_does_not_load_the_client(tmp_path: Path) -> None:
    code = "import sys; from ringback.events import open_store; open_store(sys.argv[1]); print('opensearchpy' in sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", code, f"sqlite:{tmp_path}"], check=True, capture_output=True, text=True
    )
    assert told.stdout == "False\n"
