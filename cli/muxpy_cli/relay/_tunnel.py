"""The two sides of one forwarded connection: the end that accepted it and the end that reaches the target."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

import muxpy

from ..net import connect_datagrams, connect_socket
from ..specs import Address
from ..wire import (
    ANSWER_TIMEOUT,
    OPENING_TIMEOUT,
    Message,
    Refused,
    WireError,
    check_answer,
    ended_early,
    pack,
    parse_message,
    receive_message,
    split_message,
)
from ._datagrams import relay_datagrams
from ._relay import abort, relay

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager

    from ..net import Policy, Socket
    from ..specs import Endpoint

__all__ = [
    "Answer",
    "Unanswered",
    "ask_peer",
    "carry",
    "check_taken",
    "reach",
    "receive_answer",
    "receive_opening",
    "refuse",
]

REFUSAL_TIMEOUT: Final = 2.0
"""Seconds that the opener of a refused stream has to read the reason."""

ACCEPTED: Final = pack({})


class Unanswered(Exception):
    """The other end neither accepted a connection nor refused it properly; the message says what it did."""


async def carry(
    near: trio.SocketStream | socket.socket,
    open_stream: Callable[[], Awaitable[muxpy.Stream]],
    opening: bytes,
    carrying: Callable[[muxpy.Stream], AbstractContextManager[object]],
    pacer: muxpy.Pacer | None = None,
) -> None:
    """Carry an accepted connection; `opening` is the first message and what goes right behind it. `carrying` counts it.

    Raises Refused or Unanswered if the other end did not accept it, and what `open_stream` raises. After any error
    `near` is reset, so that its client notices immediately.
    """
    try:
        far = await open_stream()
    except BaseException:
        abort(near)
        raise
    try:
        with carrying(far):
            await _send(far, opening)
            await relay(near, far, head=Answer(), pacer=pacer)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        abort(near, far)
        check_taken(error)
    except BaseException:  # including Refused by `carrying`
        abort(near, far)
        raise


async def _send(stream: muxpy.Stream, message: bytes) -> None:
    """`send_all`, without a pass of the scheduler if nothing is to be waited for."""
    try:
        stream.send_nowait(message)
    except trio.WouldBlock:
        await stream.send_all(message)


class Answer:
    """Takes the answer to a CONNECT or FORWARDED from what comes on its stream, as the `head` of a splice."""

    __slots__ = ("_received",)

    def __init__(self) -> None:
        self._received = b""

    def __call__(self, data: bytes) -> bytes | None:
        """More has come, or b"" if nothing more comes. Returns the bytes behind the answer, once it is whole. Raises
        Refused or Unanswered."""
        if not self._received and data.startswith(ACCEPTED):  # nearly always, and nothing in it is to be read
            return data[len(ACCEPTED) :]
        try:
            if not data:
                raise ended_early()
            self._received += data
            split = split_message(self._received)
        except WireError as error:
            raise Unanswered(str(error)) from error
        if split is None:
            return None
        answer, early = split
        check_answer(answer)
        return early


async def receive_answer(stream: muxpy.Stream) -> bytes:
    """Wait for the answer to a CONNECT or FORWARDED; the bytes that came after it. Raises Refused or Unanswered."""
    answer = Answer()
    try:
        while (early := answer(await stream.receive_some())) is None:
            pass
    except muxpy.StreamReset as error:
        check_taken(error)
        raise
    return early


def check_taken(error: BaseException | None) -> None:
    """Raises Unanswered if the other end did nothing with the stream."""
    if isinstance(error, muxpy.StreamReset) and error.retryable:
        raise Unanswered(
            "the other end takes no more connections over this session: it is ending, or as many are open as one"
            " session takes (--max-streams of muxpy listen raises that)"
        ) from error


async def reach(
    stream: muxpy.Stream,
    target: Endpoint,
    policy: Policy,
    early: bytes,
    *,
    header: bytes = b"",
    datagrams: bool = False,
    pacer: muxpy.Pacer | None = None,
    reached: Callable[[Socket], None] | None = None,
) -> None:
    """Connect a stream that the other end opened to its target; raises Refused after the other end was told.

    `header` is sent to the target first; `reached` is called with the socket, and may raise Refused. With UDP there may
    be several sockets, since only an answer shows that an address is the right one.
    """
    try:
        if datagrams and isinstance(target, Address):
            with await connect_datagrams(target, policy, reached) as socket:
                await stream.send_all(ACCEPTED)
                await relay_datagrams(stream, socket.receive, socket.send, early, pacer=pacer)
            return
        near = await connect_socket(target, policy)
        if reached is not None:
            _tell_reached(near, reached)
    except Refused as refused:
        await refuse(stream, refused, early, pacer)
        raise
    try:
        await _send(stream, ACCEPTED)
    except BaseException:
        abort(near)
        raise
    await relay(near, stream, early=header + early, pacer=pacer)


def _tell_reached(near: socket.socket, reached: Callable[[Socket], None]) -> None:
    try:
        reached(near)
    except Refused:  # the rules have changed meanwhile
        abort(near)
        raise


async def refuse(stream: muxpy.Stream, refused: Refused, early: bytes = b"", pacer: muxpy.Pacer | None = None) -> None:
    """Answer with an error, and end the stream. `early` and what still arrives are dropped, but count for `pacer`."""
    # What the opener still sends must be read: unread data would be answered with a reset, which overtakes our answer.
    # An opener that has read the answer resets the stream.
    with trio.move_on_after(REFUSAL_TIMEOUT), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await stream.send_all(pack(refused.message()), end=True)
        data = early
        while data or (data := await stream.receive_some()):
            if pacer is not None:
                await pacer.take(len(data))
            data = b""


async def receive_opening(
    stream: muxpy.Stream, parse: Callable[[bytes], Message] = parse_message
) -> tuple[Message, bytes]:
    """The first message of a stream that the peer opened, and the bytes after it. Raises WireError."""
    try:
        early = stream.receive_nowait()  # usually all of it came with the SYN, and needs no timer
    except trio.WouldBlock:
        early = b""
    if (split := split_message(early, parse)) is not None:
        return split
    with trio.move_on_after(OPENING_TIMEOUT):
        return await receive_message(stream, early, parse)
    raise WireError(f"no message within {OPENING_TIMEOUT:g} seconds")


async def ask_peer(stream: muxpy.Stream, message: Message, limit: float = ANSWER_TIMEOUT) -> Message:
    """Send a first message and wait `limit` seconds for the answer. Raises Refused, WireError, or trio.TooSlowError."""
    with trio.fail_after(limit):
        await stream.send_all(pack(message))
        answer, _ = await receive_message(stream)
    return check_answer(answer)
