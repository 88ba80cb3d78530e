"""An HTTP proxy's end of CONNECT."""

from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muxpy_cli.protocols import Handshake, HttpProxy
from muxpy_cli.specs import Address
from muxpy_cli.wire import REASONS

CONNECT = b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\nUser-Agent: curl/8.5.0\r\n\r\n"
LIMIT = 16 * 1024


def proxy() -> tuple[HttpProxy, Handshake]:
    """The same object twice: mypy checks that it is a Handshake."""
    http = HttpProxy()
    return http, http


def connect(target: bytes, headers: bytes = b"Host: x\r\n") -> bytes:
    return b"CONNECT " + target + b" HTTP/1.1\r\n" + headers + b"\r\n"


def read(answer: bytes, method: str = "CONNECT") -> tuple[int, dict[str, str], str]:
    """Status, headers and body, as a client reads them; it must be whole, and the connection's last."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer)
    response = client.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert client.their_state is h11.MUST_CLOSE
    headers = {name.decode(): value.decode() for name, value in response.headers}
    assert headers["content-type"] == "text/plain; charset=utf-8"
    return response.status_code, headers, body.decode()


def failure(data: bytes, method: str = "CONNECT") -> tuple[int, str, str]:
    """The status, the text that the client gets, and why it failed."""
    http, _ = proxy()
    status, _, text = read(http.receive(data), method)
    assert http.request is None
    assert http.failed is not None
    return status, text, http.failed


@pytest.mark.parametrize(
    ("target", "host", "port"),
    [
        (b"example.org:443", "example.org", 443),
        (b"192.0.2.1:1", "192.0.2.1", 1),
        (b"[2001:DB8::1]:65535", "2001:db8::1", 65535),
        pytest.param(b"[fe80::1%25eth0]:80", "fe80::1%eth0", 80, id="escaped_zone"),
        (b"[fe80::1%eth0]:80", "fe80::1%eth0", 80),
        (b"example.org.:80", "example.org.", 80),
    ],
)
def test_connect(target: bytes, host: str, port: int) -> None:
    http, _ = proxy()
    assert http.receive(connect(target)) == b""
    assert http.request == Address(host, port)
    assert http.failed is None
    assert http.answer(None) == b"HTTP/1.1 200 Connection established\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"CONNECT example.org:443 HTTP/1.0\r\n\r\n",
        connect(b"example.org:443", b"Host: x\r\nConnection: close\r\n"),
        connect(b"example.org:443", b"Host: x\r\nProxy-Authorization: Basic YTpi\r\nContent-Length: 0\r\n"),
    ],
    ids=["HTTP_1.0", "close", "authorization"],
)
def test_the_success_is_the_same_for_all_clients(data: bytes) -> None:
    http, _ = proxy()
    assert http.receive(data + b"early") == b""
    assert http.request == Address("example.org", 443)
    assert http.rest == b"early"
    assert http.answer(None) == b"HTTP/1.1 200 Connection established\r\n\r\n"


def test_early_bytes_are_the_rest() -> None:
    http, handshake = proxy()
    http.receive(CONNECT + b"\x16\x03\x01")
    http.receive(b"\x02\x00")
    assert handshake.request is not None
    assert handshake.rest == b"\x16\x03\x01\x02\x00"


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        (b"example.org", "it takes HOST:PORT"),
        (b"example.org:0", "between 1 and 65535"),
        (b"example.org:65536", "between 1 and 65535"),
        (b"example.org:https", "must be a number"),
        (b":443", "the host is missing"),
        (b"2001:db8::1:443", "needs brackets"),
        (b"[nonsense]:443", "not an IPv6 address"),
        (b"http://example.org:443", "is a URL"),
        (b"a/b:443", "no host name"),
        (b"*:443", "not one to connect to"),
    ],
)
def test_a_target_that_is_none(target: bytes, complaint: str) -> None:
    status, text, why = failure(connect(target))
    assert status == 400
    assert complaint in text
    assert why.startswith("the client asks for CONNECT")
    assert "without a proper HOST:PORT" in why


@pytest.mark.parametrize("method", [b"GET", b"POST", b"CONNECT", b"HEAD"])
@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"http://user:sesame@example.org:8080/private/sesame?token=sesame#sesame", "example.org:8080"),
        (b"http://user:sesame@se@example.org?sesame", "example.org"),
        (b"https://[2001:db8::1]:8080/sesame", "[2001:db8::1]:8080"),
        (b"http:///sesame", ""),
        (b"user:sesame@example.org", "example.org"),
        (b"example.org/sesame", "example.org"),
        (b"example.org:sesame", ""),
        (b"/private?to=http://user:sesame@example.org/", "x"),
        (b"/sesame", "x"),
        pytest.param(b"//sesame", "x", id="two_slashes-x"),
        (b"*", "x"),
        (b"http://exa\\mple.org\\@sesame\\", ""),
    ],
)
def test_only_the_client_learns_more_of_its_request_than_method_and_host(
    target: bytes, host: str, method: bytes
) -> None:
    data = method + b" " + target + b" HTTP/1.1\r\nHost: x\r\nAuthorization: Basic sesame\r\n\r\n"
    _, _, why = failure(data, method.decode())
    assert "sesame" not in why
    assert (f" at {host}" in why) if host else (" at " not in why)
    assert method.decode() in why


@pytest.mark.parametrize(
    "head",
    [
        b"GET sesame sesame HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /sesame\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nProxy-Authorization Basic sesame\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nCookie: \0sesame'\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n Cookie: sesame\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: sesame\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: sesame\r\n\r\n",
        b"\x80sesame\r\n\r\n",
    ],
    ids=["words", "version", "colon", "zero", "folded", "length", "encoding", "not_ascii"],
)
def test_a_request_that_is_none_is_quoted_nowhere(head: bytes) -> None:
    _, _, why = failure(head)
    assert why.startswith(("not a proper HTTP request: ", "the client asks for GET"))
    assert "sesame" not in why
    assert "b'" not in why
    assert 'b"' not in why


@pytest.mark.parametrize(
    "data",
    [
        b"GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 3\r\n\r\nabc",
        b"connect example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n",
    ],
)
def test_other_methods(data: bytes) -> None:
    http, _ = proxy()
    status, headers, text = read(http.receive(data))
    assert (status, headers["allow"]) == (405, "CONNECT")
    assert "only opens tunnels, with CONNECT" in text
    assert http.failed is not None
    assert "not for CONNECT" in http.failed


def test_the_answer_to_head_has_no_body() -> None:
    status, text, why = failure(b"HEAD http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n", "HEAD")
    assert (status, text) == (405, "")
    assert why == "the client asks for HEAD at example.org, not for CONNECT"


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"nonsense\r\n\r\n", "not a proper HTTP request"),
        (b"CONNECT example.org:443 HTTP/1.1\r\n\r\n", "Host"),
        (connect(b"example.org:443", b"Host: x\r\nbad header\r\n"), "not a proper HTTP request"),
        (connect(b"example.org:443", b"Host: x\r\nContent-Length: 3\r\n"), "CONNECT with a body"),
        (connect(b"example.org:443", b"Host: x\r\nTransfer-Encoding: chunked\r\n"), "CONNECT with a body"),
        (b"\x16\x03\x01", "speaks TLS, not HTTP"),
        (b"\x05\x01\x00", "speaks SOCKS 5, not HTTP"),
        (b"\x04\x01\x00\x50", "speaks SOCKS 4, not HTTP"),
        (b"\r\n\r\n", "not a proper HTTP request"),
    ],
)
def test_bad_requests(data: bytes, complaint: str) -> None:
    status, _, why = failure(data)
    assert status == 400
    assert complaint in why


def test_a_long_request_is_not_quoted_in_full() -> None:
    _, text, why = failure(b"CONNECT example.org:" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert len(why) <= len(text) < 400


def head_of(size: int) -> bytes:
    return connect(
        b"example.org:443", b"Host: x\r\nX: " + b"a" * (size - len(connect(b"example.org:443")) - 5) + b"\r\n"
    )


def test_the_longest_head() -> None:
    http, _ = proxy()
    http.receive(head_of(LIMIT) + b"rest")
    assert http.request == Address("example.org", 443)
    assert http.rest == b"rest"


@pytest.mark.parametrize("chunk", [1000, 100_000])
def test_a_longer_head(chunk: int) -> None:
    data = head_of(LIMIT + 1)
    assert len(data) == LIMIT + 1
    http, _ = proxy()
    answers = b"".join(http.receive(data[i : i + chunk]) for i in range(0, len(data), chunk))
    assert read(answers)[0] == 431
    assert http.failed == "the head of the request is longer than 16384 bytes"


@pytest.mark.parametrize(
    ("reason", "status", "words"),
    [
        ("forbidden", 403, "does not allow example.org:443"),
        ("timeout", 504, "example.org:443 did not answer in time"),
        ("refused", 502, "example.org:443 refused"),
        ("unreachable", 502, "cannot be reached"),
        ("unresolved", 502, "cannot be resolved"),
        ("failed", 502, "no connection to example.org:443"),
        ("something of a later version", 502, "no connection to example.org:443"),
    ],
)
def test_answers(reason: str, status: int, words: str) -> None:
    http, _ = proxy()
    http.receive(CONNECT)
    answer = read(http.answer(reason))
    assert answer[0] == status
    assert words in answer[2]


def test_every_reason_has_an_answer() -> None:
    http, _ = proxy()
    http.receive(CONNECT)
    assert {read(http.answer(reason))[0] for reason in REASONS} == {403, 502, 504}


def test_there_is_no_answer_without_a_request() -> None:
    http, _ = proxy()
    with pytest.raises(RuntimeError):
        http.answer(None)


def test_nothing_is_said_after_a_failure() -> None:
    http, _ = proxy()
    http.receive(b"\x16")
    assert http.receive(CONNECT) == b""
    assert (http.request, http.rest) == (None, b"")


REQUESTS = st.sampled_from(
    [
        CONNECT,
        connect(b"example.org"),
        connect(b"example.org:443", b"Host: x\r\nTransfer-Encoding: chunked\r\n"),
        b"GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.0\n\n",
        b"CONNECT example.org:443 HTTP/1.1\r\n\r\n",
    ]
)


def outcome(chunks: list[bytes]) -> tuple[Address | None, bool, bytes, bytes]:
    """What came of it. Of a request that h11 does not take, the words may depend on how much of it is there."""
    http, _ = proxy()
    answers = b"".join(map(http.receive, chunks))
    return http.request, http.failed is not None, http.rest, answers.partition(b"\r\n")[0]


@given(st.builds(bytes.__add__, REQUESTS, st.binary(max_size=20)) | st.binary(max_size=200), st.data())
def test_it_does_not_matter_how_the_bytes_are_cut(data: bytes, draw: st.DataObject) -> None:
    at = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    edges = [0, *at, len(data)]
    whole = outcome([data])
    assert outcome([data[start:end] for start, end in pairwise(edges)]) == whole
    assert outcome([data[i : i + 1] for i in range(len(data))]) == whole


@given(st.binary(max_size=200).map(lambda data: data + b"\r\n\r\n"))
def test_whatever_is_sent_has_an_answer(data: bytes) -> None:
    http, _ = proxy()
    answer = http.receive(data)
    assert (http.request is None) != (http.failed is None)
    if http.failed is not None:
        assert read(answer)[0] in (400, 405, 501)
