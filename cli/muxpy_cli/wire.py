"""How the two ends of a tunnel talk, on top of the session's streams.

The stream type says what a stream is for (`Purpose`). Its opener sends one message first, and the other end answers
with one. A message is a JSON object in UTF-8 after its length as two bytes, big-endian:

    +--------+--------+-----------------------------+
    | length, 2 bytes | JSON object, 1 to 4096 bytes |
    +--------+--------+-----------------------------+

    purpose       opened by        first message                        answer
    HELLO      1  connecting end   {"program": "muxpy 0.1.0",           {"program": "muxpy 0.1.0", "user": "alice",
                                    "token": "...", "client": "...",     "streams": 100}, and no more
                                    "process": "...", "slot": 0}
    CONNECT    2  connecting end   {"host": "localhost", "port": 80}    {}, then the connection's bytes both ways
                                   or {"unix": "/path"}
    LISTEN     3  connecting end   {"host": "127.0.0.1", "port": 0,     {"port": 40001}, bound while the stream is open;
                                    "forward": 0}, or "unix"             an error later says why it no longer is
    FORWARDED  4  listening end    {"forward": 0, "peer": ["::1", 9],   {}, then the connection's bytes both ways
                                    "local": ["::1", 40001]}
    BENCH      5  connecting end   see muxpy_cli.bench                  {}, then what was asked for; for an upload, a
                                                                        report at its end instead

An answer may be {"error": "...", "reason": "..."} instead: `error` is one of REASONS, for programs; `reason` is a
sentence for people.

HELLO comes first; any other stream before its answer ends the session. `token` says who connects, unless a client
certificate does, or nobody has to. `client` is the same for every run of one client on one machine, `process` for one
run of it, and `slot` numbers its parallel sessions. A HELLO for the same slot of the same process ends the session that
was there before, unless that one is going away in order. A LISTEN of the same client takes over what the client has
bound, even if the session that it was bound for has not been found dead yet.

With "net": "udp" beside a host or in LISTEN, the stream carries datagrams, each after its length as two bytes,
big-endian; there is one stream for each pair of addresses that talk. `forward` is the connecting end's number for a
forward; `peer` and `local` are the two addresses of the connection, null where it has none. `streams` is how many
connections the user may have, if that is limited: as many may come over the session for what is bound.

The opener of CONNECT and FORWARDED sends the connection's bytes right behind its message, without waiting for the
answer, so a forwarded connection costs no round trip more than a direct one. Bytes for a target that cannot be reached
are dropped with the stream. The connection's half-close is the stream's half-close, its reset the stream's reset.

An end ignores keys that it does not know, so that later versions can add some; what would change the meaning gets a
purpose of its own. An end answers a purpose that it does not know with the error "unknown".
"""

from __future__ import annotations

import json
import math
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from .specs import MAX_PATH, Address, Endpoint, UnixPath, check_host

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

__all__ = [
    "ANSWER_TIMEOUT",
    "DATAGRAMS",
    "MAX_MESSAGE",
    "OPENING_TIMEOUT",
    "REASONS",
    "Message",
    "Openings",
    "Purpose",
    "Refused",
    "WireError",
    "check_answer",
    "ended_early",
    "pack",
    "pack_endpoint",
    "parse_message",
    "receive_message",
    "split_message",
    "unpack_endpoint",
    "unpack_integer",
    "unpack_text",
]

MAX_MESSAGE: Final = 4096
"""Bytes of JSON. The longest host name is 255; the rest is room for later keys."""
OPENING_TIMEOUT: Final = 10.0
"""Seconds in which a stream's first message must come, so that a peer cannot pile up streams that say nothing."""
ANSWER_TIMEOUT: Final = 10.0
"""Seconds to wait for the answer to HELLO and LISTEN. To CONNECT and FORWARDED it takes as long as the target."""
READ_SIZE: Final = 64 * 1024

DATAGRAMS: Final = {"net": "udp"}
"""What a message has beside a host if the stream carries datagrams."""

REASONS: Final = frozenset(
    {
        "refused",
        "unreachable",
        "unresolved",
        "timeout",
        "forbidden",
        "limit",
        "in use",
        "taken over",
        "unknown",
        "failed",
    }
)
"""What an `error` may be."""

Message = dict[str, Any]


class Purpose(IntEnum):
    """Stream types of the tunnel."""

    HELLO = 1
    CONNECT = 2
    LISTEN = 3
    FORWARDED = 4
    BENCH = 5


class WireError(Exception):
    """The peer sent something that this protocol does not allow."""


class Refused(Exception):
    """The other end, or this one for it, cannot do what was asked. `error` is one of REASONS; `reason` may be empty."""

    def __init__(self, error: str, reason: str) -> None:
        super().__init__(error, reason)
        self.error = error
        self.reason = reason

    def __str__(self) -> str:
        return self.reason or "it did not say why"

    def message(self) -> Message:
        """It as an answer."""
        return {"error": self.error, "reason": self.reason[:1000]}


def pack(message: Message) -> bytes:
    """The message with its length, ready to be sent."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return len(body).to_bytes(2, "big") + body


def parse_message(body: bytes) -> Message:
    """The JSON object in a message. Raises WireError."""
    try:
        message = json.loads(body.decode())  # it would look for other encodings first
    except (ValueError, RecursionError):
        raise WireError("a message that is not JSON") from None
    if not isinstance(message, dict):
        raise WireError("a message that is not a JSON object")
    return message


class Openings:
    """Parses the first messages of one user's streams. Most say again what the last one has said, as all connections to
    one forward do, so its meaning is kept. Not for several users: who asks would learn by the time that it takes
    whether another has asked for the same."""

    __slots__ = ("_body", "_endpoint", "_message")

    def __init__(self) -> None:
        self._body = b""
        self._message: Message = {}
        self._endpoint: Endpoint | None = None

    def parse(self, body: bytes) -> Message:
        """`parse_message`. Nobody may change what it returns."""
        if body != self._body:
            self._message, self._endpoint = parse_message(body), None
            self._body = body
        return self._message

    def endpoint(self, message: Message) -> Endpoint:
        """`unpack_endpoint`."""
        if message is not self._message:  # another one has come meanwhile
            return unpack_endpoint(message)
        if self._endpoint is None:
            self._endpoint = unpack_endpoint(message)
        return self._endpoint


async def receive_message(
    stream: trio.abc.ReceiveStream, early: bytes = b"", parse: Callable[[bytes], Message] = parse_message
) -> tuple[Message, bytes]:
    """The message that comes next, and the bytes that came with it but are not part of it. `early` was received
    before."""
    data = early
    while (split := split_message(data, parse)) is None:
        chunk = await stream.receive_some(READ_SIZE)
        if not chunk:
            raise ended_early()
        data = data + chunk if data else bytes(chunk)
    return split


def ended_early() -> WireError:
    """The error of a stream that has ended before its first message was whole."""
    return WireError("the stream ended before its first message")


def split_message(data: bytes, parse: Callable[[bytes], Message] = parse_message) -> tuple[Message, bytes] | None:
    """The message that `data` begins with, and what comes behind it; None if it is not whole yet. Raises WireError."""
    size = _message_size(data)
    if size is None or len(data) < size:
        return None
    return parse(data[2:size]), data[size:]


def _message_size(data: bytes) -> int | None:
    """Bytes of the whole message, checked before any of its body is waited for."""
    if len(data) < 2:
        return None
    length = int.from_bytes(data[:2], "big")
    if not 1 <= length <= MAX_MESSAGE:
        raise WireError(f"a message of {length} bytes, where 1 to {MAX_MESSAGE} are allowed")
    return 2 + length


def pack_endpoint(endpoint: Endpoint, *, datagrams: bool = False) -> Message:
    """An endpoint as keys of a message."""
    if isinstance(endpoint, UnixPath):
        return {"unix": endpoint.path}
    message: Message = {"host": endpoint.host, "port": endpoint.port}
    return {**message, **DATAGRAMS} if datagrams else message


def unpack_endpoint(message: Message) -> Endpoint:
    """`host` and `port`, or `unix`, checked."""
    if (path := message.get("unix")) is not None:
        # Printable is what a spec may be, and what can be encoded.
        if not isinstance(path, str) or not path.isprintable() or not 1 <= len(path.encode()) <= MAX_PATH:
            raise WireError("a message without a proper path")
        return UnixPath(path)
    host = message.get("host")
    if not isinstance(host, str) or check_host(host) is not None:
        raise WireError("a message without a proper host")
    return Address(host, unpack_integer(message, "port", most=65535))


def unpack_text(message: Message, key: str, most: int) -> str | None:
    """A text of at most `most` characters; None if there is none."""
    value = message.get(key)
    if value is not None and not (isinstance(value, str) and len(value) <= most):
        raise WireError(f"a message without a proper {key}")
    return value


def unpack_integer(message: Message, key: str, most: float = math.inf) -> int:
    """A number from 0 to `most`."""
    value = message.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise WireError(f"a message without a proper {key}")
    return value


def check_answer(answer: Message) -> Message:
    """The answer, or Refused if it is an error."""
    if "error" not in answer:
        return answer
    error = answer["error"]
    reason = answer.get("reason")
    raise Refused(
        error if isinstance(error, str) and error in REASONS else "failed",
        reason if isinstance(reason, str) else "",
    )
