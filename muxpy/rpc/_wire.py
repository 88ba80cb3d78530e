"""The wire of calls: messages, cut out of the bytes of a stream, and what stands in them. docs/rpc-protocol.md has it
byte by byte.

A message is its length, its kind, the id of its call, and a body in msgpack, or in JSON where the caller has asked for
that. On the shared stream of small calls, ids tell the calls apart; a stream of a call's own has one call, with id 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "INITIAL_CREDIT",
    "IN_JSON",
    "JSON",
    "MAX_SMALL",
    "MSGPACK",
    "UNREADABLE",
    "Coding",
    "ErrorBody",
    "Kind",
    "Message",
    "Messages",
    "Request",
    "StreamType",
    "TooLarge",
    "pack",
]

HEADER: Final = Struct(">IBI")

MAX_SMALL: Final = 4096
"""The most bytes of a message that goes over the shared stream, with its header."""

INITIAL_CREDIT: Final = 128
"""Calls that may be without an answer on a shared stream, until the answering side allows more."""


class StreamType(IntEnum):
    """What the streams of a session are for."""

    SHARED = 0x52504301
    """Many small calls: requests one way, answers the other."""
    CALL = 0x52504302
    """One call."""
    ANSWER = 0x52504303
    """The large answer of a call on the shared stream. The answering side opens it."""
    RAW = 0x52504304
    """An argument or a result that is a stream itself."""


class Kind(IntEnum):
    """What a message is."""

    CALL = 1
    """A call begins: see `Request`."""
    CANCEL = 2
    """Nobody waits for the answer any more. It comes all the same, and gives back the call's credit."""
    ITEM = 3
    """The next one of the values that a method takes or gives one after another."""
    RESULT = 4
    """The answer: what the method has returned."""
    ERROR = 5
    """The answer: see `ErrorBody`."""
    ELSEWHERE = 6
    """The answer comes on a stream of its own (ANSWER), in a message with the id of this call."""
    CREDIT = 7
    """So many more calls may be without an answer. The number stands in place of the id."""


IN_JSON: Final = 0x80
"""A flag of CALL: the body, and those of all messages of this call, are JSON."""

Message = tuple[int, int, bytes]
"""The kind of a message, its id and its body."""


class Request(msgspec.Struct, array_like=True):
    """The body of CALL."""

    method: str
    """The service and the method, as in "Calculator.add"."""
    arguments: msgspec.Raw
    """An array in the order of the method's parameters, or a map by their names."""
    timeout: float | None = None
    """The seconds after which nobody waits for the answer, from now on; None if there is no such time."""
    metadata: dict[str, str] | None = None


class ErrorBody(msgspec.Struct, array_like=True):
    """The body of ERROR."""

    code: int
    name: str
    message: str
    retryable: bool = False
    """Whether nothing was done for the call."""
    details: msgspec.Raw = msgspec.Raw()


@dataclass(frozen=True, slots=True)
class Coding:
    """A way in which values become bytes."""

    encode: Callable[[object], bytes]
    decoder: Callable[[Any], Callable[[bytes], Any]]
    """Makes a function for a type, which raises msgspec.ValidationError for bytes of anything else."""
    flag: int
    maps: frozenset[int]
    """The first bytes that maps begin with."""


UNREADABLE: Final = (msgspec.DecodeError, RecursionError)
"""What decoding raises for bytes that do not fit the type, or are no value at all: one may be nested too deeply."""


def _msgpack_decoder(kind: Any) -> Callable[[bytes], Any]:  # noqa: ANN401 - any type
    return msgspec.msgpack.Decoder(kind).decode


def _json_decoder(kind: Any) -> Callable[[bytes], Any]:  # noqa: ANN401 - any type
    return msgspec.json.Decoder(kind).decode


MSGPACK: Final = Coding(
    msgspec.msgpack.Encoder().encode, _msgpack_decoder, 0, frozenset([*range(0x80, 0x90), 0xDE, 0xDF])
)
JSON: Final = Coding(msgspec.json.Encoder().encode, _json_decoder, IN_JSON, frozenset(b"{"))


def pack(kind: int, call_id: int, body: bytes = b"") -> bytes:
    """One message."""
    return HEADER.pack(len(body), kind, call_id) + body


class TooLarge(Exception):
    """A message announces more bytes than this side takes."""

    def __init__(self, size: int, most: int) -> None:
        super().__init__(f"a message of {size} bytes; this side takes {most} at most")


class Messages:
    """Cuts messages out of bytes that come in any pieces."""

    __slots__ = ("_missing", "_most", "_rest")

    def __init__(self, most: int) -> None:
        self._most = most
        self._rest = bytearray()
        self._missing = 0  # bytes until it is worth looking at the rest again

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are whole now. Raises TooLarge as soon as the header of a larger one is there."""
        if self._rest:
            self._rest += data
            self._missing -= len(data)
            if self._missing > 0:  # large messages come in many pieces: copy each piece once
                return []
            data = bytes(self._rest)
            self._rest.clear()
        messages, begin, size = [], 0, len(data)
        unpack, header_size = HEADER.unpack_from, HEADER.size
        missing = 0
        while True:
            if size - begin < header_size:
                missing = header_size - (size - begin)
                break
            length, kind, call_id = unpack(data, begin)
            end = begin + header_size + length
            if end > size:
                if length > self._most:
                    raise TooLarge(length, self._most)
                missing = end - size
                break
            messages.append((kind, call_id, data[begin + header_size : end]))
            begin = end
        if begin < size:
            self._rest += data[begin:]
            self._missing = missing
        return messages

    @property
    def unfinished(self) -> int:
        """Bytes of a message that has begun and not ended."""
        return len(self._rest)
