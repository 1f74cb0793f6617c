"""Digest answers of independent clients and of the RFCs."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from engine_asked import JOHN, Asking
from requests import Request
from requests.auth import HTTPDigestAuth

from ringback.billing.engine.digest import BadDigest, is_right, read_digest

SECRET = "Circle of Life"
RFC_7616 = (
    'Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm={algorithm}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",'
    ' qop=auth, response="{response}", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)
ANSWERS = {
    "MD5": "8ca523f5e9506fed4657c9700eebdbec",
    "SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
}


@pytest.mark.parametrize("algorithm", ANSWERS)
def test_the_example_of_rfc_7616(algorithm: str) -> None:
    answer = read_digest(RFC_7616.format(algorithm=algorithm, response=ANSWERS[algorithm]))
    assert answer.username == "Mufasa"
    assert is_right(answer, "GET", SECRET)
    assert not is_right(answer, "INVITE", SECRET)
    assert not is_right(answer, "GET", "Circle of life")


def test_the_example_of_rfc_2617_has_no_algorithm_and_may_have_no_qop() -> None:
    start = (
        'Digest username="Mufasa", realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", '
        'uri="/dir/index.html", '
    )
    with_qop = read_digest(
        f'{start}qop=auth, nc=00000001, cnonce="0a4f113b", response="6629fae49393a05397450978507c4ef1"'
    )
    assert is_right(with_qop, "GET", "Circle Of Life")
    without = read_digest(f'{start}response="670fd8c2df070c60b045671b8b24ff02"')
    assert is_right(without, "GET", "Circle Of Life")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("", "not Digest"),
        ("Basic YTpi", "Basic, not Digest"),
        ("Digest ", "no username"),
        ('Digest username="a", username="b"', "twice"),
        ('Digest username="a', "cannot be read"),
        ('Digest username="a", realm="r", nonce="n", uri="u", response="x", algorithm=SHA-1', "none of MD5"),
        ('Digest username="a", realm="r", nonce="n", uri="u", response="x", qop=auth-int', "auth is"),
        ('Digest username="a", realm="r", nonce="n", uri="u", response="x", qop=auth', "no cnonce"),
    ],
)
def test_what_cannot_be_checked_is_told(header: str, said: str) -> None:
    with pytest.raises(BadDigest, match=said):
        read_digest(header)


def by_requests(password: str, algorithm: str, qop: str) -> str:
    """The header that the library `requests` answers a challenge with."""
    auth: Any = HTTPDigestAuth(JOHN, password)
    auth.init_per_thread_state()
    challenge = {"realm": "sip.example.net", "nonce": "Zm9v", "algorithm": algorithm}
    auth._thread_local.chal = challenge | ({"qop": qop} if qop else {})
    assert Request("GET", "http://x/").prepare().url
    return str(auth.build_digest_header("INVITE", "http://sip.example.net/420222333444"))


def by_httpx2(password: str, algorithm: str, qop: str) -> str:
    auth = httpx2.DigestAuth(JOHN, password)
    request = httpx2.Request("INVITE", "http://sip.example.net/420222333444")
    flow = auth.auth_flow(request)
    next(flow)
    challenge = f'Digest realm="sip.example.net", nonce="Zm9v", algorithm={algorithm}' + (
        f', qop="{qop}"' if qop else ""
    )
    return str(
        flow.send(httpx2.Response(401, headers={"www-authenticate": challenge}, request=request)).headers[
            "authorization"
        ]
    )


@pytest.mark.parametrize("client", [by_requests, by_httpx2])
@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
@pytest.mark.parametrize("qop", ["", "auth"])
@pytest.mark.parametrize("database", ["sqlite"])
def test_phones_that_know_the_password_are_let_in(node: Asking, client: Any, algorithm: str, qop: str) -> None:
    right = node.authorize(authorization=client("geheim", algorithm, qop))
    assert right["allowed"], right["text"]
    assert right["account"] == JOHN
    wrong = node.authorize(authorization=client("geheimer", algorithm, qop))
    assert (wrong["allowed"], wrong["reason"]) == (False, "wrong-password")
    other_method = node.authorize(authorization=client("geheim", algorithm, qop), method="REGISTER")
    assert other_method["reason"] == "wrong-password"
