"""An HTTP proxy's end of CONNECT (RFC 9110, section 9.3.6).

h11 reads the request. The answers are few and of a fixed form, so they are written here: to a success h11 would add a
header that depends on the client's version, where clients expect none.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

import h11

from ..specs import Address, SpecError, parse_address

__all__ = ["HttpProxy"]

MAX_HEAD: Final = 16 * 1024
"""Bytes of the request line and the headers. Browsers send less than one KiB; common servers allow 8 or 16."""
MAX_METHOD: Final = 20
"""Characters of a method that are shown; the longest registered ones have fewer."""
MAX_REASON: Final = 300
"""Characters of the reason that the client is told: it quotes the client's bytes, which may be a whole head."""

# The log gets only the method and the host of a request. Everything else may be secret: passwords and tokens in its
# target and headers, and what somebody reads.
_AUTHORITY: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*://)?(?:[^/?#]*@)?([^/?#@]*)")
_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,255}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?")

_QUOTE: Final = re.compile(r":? *(?:bytearray\()?b['\"].*", re.DOTALL)
"""The client's bytes at the end of an error message of h11."""

CONNECTED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"

STATUS: Final = {"forbidden": HTTPStatus.FORBIDDEN, "timeout": HTTPStatus.GATEWAY_TIMEOUT}
"""For the wire's REASONS; the others get BAD_GATEWAY."""
SENTENCES: Final = {
    "forbidden": "the tunnel does not allow {}",
    "refused": "{} refused the connection",
    "timeout": "{} did not answer in time",
    "unreachable": "{} cannot be reached",
    "unresolved": "the name in {} cannot be resolved",
}

# The first byte of clients that take this for another kind of port.
OTHERS: Final = {4: "SOCKS 4", 5: "SOCKS 5", 0x16: "TLS"}


class _Failed(Exception):
    """This proxy does not answer the request with a tunnel. The reason is for everybody, `text` is for the client."""

    def __init__(self, status: HTTPStatus, why: str, text: str | None = None, *, body: bool = True) -> None:
        super().__init__(why)
        self.reply = _error(status, (why if text is None else text)[:MAX_REASON], body=body)


class HttpProxy:
    """One client's request; see Handshake for how to use it. `Proxy-Authorization` is ignored."""

    def __init__(self) -> None:
        self.request: Address | None = None
        self.failed: str | None = None
        self.rest = b""
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._room = MAX_HEAD

    def receive(self, data: bytes) -> bytes:
        """Take what the client sent, and return what to send it now; sets `request` and `rest`, or `failed`."""
        if self.request is not None:
            self.rest += data
        if self.request is not None or self.failed is not None or not data:
            return b""  # to h11, no data would mean the end of the connection
        try:
            self._read(data)
        except _Failed as failure:
            self.failed = str(failure)
            return failure.reply
        return b""

    def answer(self, reason: str | None) -> bytes:
        """The answer to the request: None for success, or one of the wire's REASONS. RuntimeError without a request."""
        if self.request is None:
            raise RuntimeError("there is no request to answer")
        if reason is None:
            return CONNECTED
        sentence = SENTENCES.get(reason, "there is no connection to {}").format(self.request)
        return _error(STATUS.get(reason, HTTPStatus.BAD_GATEWAY), sentence)

    def _read(self, data: bytes) -> None:
        if self._room == MAX_HEAD and data[0] in OTHERS:
            raise _Failed(HTTPStatus.BAD_REQUEST, f"the client speaks {OTHERS[data[0]]}, not HTTP")
        # h11 sees no byte beyond the limit. Its own limit is for incomplete heads: it would accept a longer one that
        # arrives whole.
        head, beyond = data[: self._room], data[self._room :]
        self._room -= len(head)
        event = self._parse(head)
        if event is not None:
            self.request = _target(event)
            self.rest = self._connection.trailing_data[0] + beyond
        elif not self._room:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise _Failed(status, f"the head of the request is longer than {MAX_HEAD} bytes")

    def _parse(self, data: bytes) -> h11.Request | None:
        try:
            self._connection.receive_data(data)
            event = self._connection.next_event()
        except h11.RemoteProtocolError as error:
            # h11's hint distinguishes a request that it does not implement (501) from a bad one (400).
            raise _Failed(
                HTTPStatus(error.error_status_hint), f"not a proper HTTP request: {_QUOTE.sub('', str(error))}"
            ) from None
        return event if isinstance(event, h11.Request) else None


def _target(request: h11.Request) -> Address:
    """What a CONNECT asks for; _Failed if it is no proper one."""
    target = request.target.decode("ascii")  # h11 accepts nothing else
    if request.method != b"CONNECT":
        method = request.method.decode("ascii")
        text = f"This proxy only opens tunnels, with CONNECT. It does not know {method[:MAX_METHOD]}."
        why = f"the client asks for {method[:MAX_METHOD]}{_host_of(request)}, not for CONNECT"
        raise _Failed(HTTPStatus.METHOD_NOT_ALLOWED, why, text, body=method != "HEAD")
    # A CONNECT has no content. Another proxy on the way might take the first bytes of the tunnel for content (request
    # smuggling), so such a request is refused.
    if any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0") for name, value in request.headers
    ):
        raise _Failed(HTTPStatus.BAD_REQUEST, "the client sends a CONNECT with a body")
    try:
        return parse_address(target.replace("%25", "%", 1))  # the zone of an address in a URI: RFC 6874
    except SpecError as error:
        why = f"the client asks for CONNECT{_host_of(request)} without a proper HOST:PORT"
        raise _Failed(HTTPStatus.BAD_REQUEST, why, f"CONNECT {target}: {error}") from None


def _host_of(request: h11.Request) -> str:
    """The host of a request, for people; "" if there is none that can be shown."""
    target = request.target.decode("ascii")
    if target.startswith(("/", "*")):
        target = next((value.decode("latin-1") for name, value in request.headers if name == b"host"), "")
    match = _AUTHORITY.match(target)
    host = match[1] if match is not None else ""
    return f" at {host}" if _HOST.fullmatch(host) else ""


def _error(status: HTTPStatus, text: str, *, body: bool = True) -> bytes:
    """A whole answer. The answer to HEAD has no body."""
    content = f"{text}\n".encode()
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(content)}",
        "Connection: close",
    ]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: CONNECT")
    head = "".join(f"{line}\r\n" for line in [*lines, ""])
    return head.encode("ascii") + (content if body else b"")
