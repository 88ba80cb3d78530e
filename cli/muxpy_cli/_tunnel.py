"""The two sides of one forwarded connection: the end that accepted it and the end that reaches the target."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

import muxpy

from ._errors import the_cause
from ._net import connect_target
from ._relay import abort, relay
from ._wire import (
    ANSWER_TIMEOUT,
    OPENING_TIMEOUT,
    Message,
    Purpose,
    Refused,
    WireError,
    check_answer,
    pack,
    receive_message,
)

if TYPE_CHECKING:
    from ._net import Rules
    from ._specs import Address

__all__ = ["Unanswered", "ask", "carry", "reach", "receive_opening", "refuse"]

REFUSAL_TIMEOUT: Final = 2.0
"""Seconds that the opener of a refused stream gets to read why."""

_ACCEPTED: Final = pack({})


class Unanswered(Exception):
    """The other end neither took a connection nor refused it properly; the message says what it did instead."""


async def carry(session: muxpy.Session, purpose: Purpose, opening: bytes, near: trio.SocketStream) -> None:
    """Carry an accepted connection over the session; raises Refused or Unanswered if the other end did not take it.

    Whatever goes wrong, `near` is reset, so that its client knows at once.
    """
    try:
        far = await session.open_stream(stream_type=purpose)
    except muxpy.SessionClosed:
        abort(near)
        return
    except BaseException:
        abort(near)
        raise
    try:
        await far.send_all(opening)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        abort(near, far)
        return
    except BaseException:
        abort(near, far)
        raise
    failed: BaseExceptionGroup[Refused | Unanswered] | None = None
    try:
        await relay(near, far, opening=partial(_receive_answer, far))
    except* (Refused, Unanswered) as group:
        failed = group
    else:
        await far.aclose()
    if failed is not None:
        raise the_cause(failed)


async def _receive_answer(stream: muxpy.Stream) -> bytes:
    try:
        answer, early = await receive_message(stream)
    except WireError as error:
        raise Unanswered(str(error)) from error
    except muxpy.StreamReset as error:
        if error.retryable:  # never looked at
            reason = "the other end takes no more connections: too many are open there, or it is ending"
            raise Unanswered(reason) from error
        raise
    check_answer(answer)
    return early


async def reach(stream: muxpy.Stream, target: Address, rules: Rules, early: bytes) -> None:
    """Connect a stream that the other end opened to its target; raises Refused after having told the other end."""
    try:
        near = await connect_target(target, rules)
    except Refused as refused:
        await refuse(stream, refused)
        raise
    try:
        await stream.send_all(_ACCEPTED)
    except BaseException:
        abort(near)
        raise
    await relay(near, stream, early=early)


async def refuse(stream: muxpy.Stream, refused: Refused) -> None:
    """Answer with an error, and end the stream."""
    # What the opener still sends must be read: left unread, it would be answered with a reset, and that overtakes our
    # answer. An opener that has read the answer resets the stream.
    with trio.move_on_after(REFUSAL_TIMEOUT), suppress(trio.BrokenResourceError):
        await stream.send_all(pack(refused.message()))
        await stream.send_eof()
        while await stream.receive_some():
            pass


async def receive_opening(stream: muxpy.Stream) -> tuple[Message, bytes]:
    """The first message of a stream that the peer opened, and what came behind it. Raises WireError."""
    with trio.move_on_after(OPENING_TIMEOUT):
        return await receive_message(stream)
    raise WireError(f"no message within {OPENING_TIMEOUT:g} seconds")


async def ask(stream: muxpy.Stream, message: Message) -> Message:
    """Send a first message and wait for the answer. Raises Refused, WireError, or trio.TooSlowError."""
    with trio.fail_after(ANSWER_TIMEOUT):
        await stream.send_all(pack(message))
        answer, _ = await receive_message(stream)
    return check_answer(answer)
