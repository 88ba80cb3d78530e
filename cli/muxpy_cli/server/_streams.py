"""The streams that a client opens after its login: each says what it is for."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import trio

import muxpy

from ..bench import serve_bench
from ..relay import reach, receive_opening, refuse
from ..wire import DATAGRAMS, Message, Purpose, Refused, WireError, pack, unpack_endpoint, unpack_integer
from ._usage import limit_reached

if TYPE_CHECKING:
    from ..specs import Endpoint
    from ..view import Console
    from ._binding import Holder
    from ._bindings import Bindings
    from ._peer import Peer

__all__ = ["Streams"]

UNREACHED: Final = {"refused", "unreachable", "unresolved", "timeout"}
"""Of the wire's reasons, those of targets. The others are of this end: by a rule, a limit, or what is bound already."""


class Streams:
    """Handles each stream by its purpose."""

    def __init__(self, bindings: Bindings, console: Console) -> None:
        self._bindings = bindings
        self._console = console
        self.refused = 0
        """Streams, by a rule or a limit."""

    async def handle(self, peer: Peer, stream: muxpy.Stream) -> None:
        """A stream that the client opened."""
        try:
            message, early = await receive_opening(stream, peer.usage.openings.parse)
            if peer.rate is not None:  # what comes behind the message is counted where it is passed on
                peer.rate.carried(_read_from(stream) - len(early))
            await _check_welcome(peer, stream)
            if stream.stream_type == Purpose.CONNECT:
                await self._connect(peer, stream, message, early)
            elif stream.stream_type == Purpose.LISTEN:
                await self._listen(peer, stream, message, early)
            elif stream.stream_type == Purpose.BENCH:
                await self._bench(peer, stream, message, early)
            else:
                unknown = Refused("unknown", f"stream type {stream.stream_type} is not known here")
                await refuse(stream, unknown, early, peer.rate)
        except Refused as refused:
            self.refused += refused.error in {"forbidden", "failed", "in use", "limit"}
            self._tell_refused(peer, refused, of_target=stream.stream_type != Purpose.LISTEN)
        except WireError as error:
            self._console.complain(f"stream from {peer.name}: {error}", peer=peer.address, event="protocol_error")
            stream.reset(muxpy.ErrorCode.PROTOCOL_ERROR)
        except trio.ClosedResourceError:
            pass  # reset from here while its target was being reached: it was idle for too long, or rules have changed

    def _tell_refused(self, peer: Peer, refused: Refused, *, of_target: bool) -> None:
        unreached = of_target and refused.error in UNREACHED
        self._console.complain(
            f"{peer.name}: cannot reach {refused}" if unreached else f"refused {peer.name}: {refused}",
            peer=peer.address,
            user=peer.usage.name,
            event="connection_failed" if unreached else "refused",
        )

    async def _connect(self, peer: Peer, stream: muxpy.Stream, message: Message, early: bytes) -> None:
        target = peer.usage.openings.endpoint(message)
        datagrams = message.get("net") == DATAGRAMS["net"]
        rules = peer.usage.rules
        try:
            carrying = peer.carrying(stream)
        except Refused as refused:
            await refuse(stream, refused, early, peer.rate)
            raise
        with carrying:
            try:
                await reach(
                    stream,
                    target,
                    peer.usage.policy,
                    early,
                    datagrams=datagrams,
                    pacer=peer.rate,
                    reached=partial(peer.note_target, rules, stream, target),
                )
            except Refused:
                peer.account.failed += 1
                raise
            finally:
                peer.targets.pop(stream, None)
        if self._console.detailed:
            self._console.detail(
                f"connection of {peer.name} to {target} has ended", peer=peer.address, event="connection_closed"
            )

    async def _listen(self, peer: Peer, control: muxpy.Stream, message: Message, early: bytes) -> None:
        place = unpack_endpoint(message)
        number = unpack_integer(message, "forward", most=2**31)
        limit = peer.usage.limits.forwards
        try:
            if limit is not None and peer.usage.forwards >= limit:
                many = limit_reached("as many ports are bound", "max-forwards", limit)
                raise Refused("limit", f"cannot bind {place}: {many}")
            peer.usage.forwards += 1
            try:
                await self._stay_bound(peer, control, place, number, datagrams=message.get("net") == DATAGRAMS["net"])
            finally:
                peer.usage.forwards -= 1
        except Refused as refused:
            await refuse(control, refused, early, peer.rate)
            raise

    async def _stay_bound(
        self, peer: Peer, control: muxpy.Stream, place: Endpoint, number: int, *, datagrams: bool
    ) -> None:
        binding, holder = await self._bindings.bind(peer, place, number, datagrams=datagrams)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_end_with, control, holder)
                nursery.start_soon(_end_at, peer.ending, holder)
                await control.send_all(pack({"port": binding.bound.port}))
                await holder.over.wait()
                nursery.cancel_scope.cancel()
        except* trio.BrokenResourceError:
            pass
        finally:
            self._bindings.unbind(binding, holder)
        if holder.reason is not None:
            await refuse(control, holder.reason)

    async def _bench(self, peer: Peer, stream: muxpy.Stream, message: Message, early: bytes) -> None:
        try:
            peer.check_room()
            if peer.rate is not None:  # it would measure them, and take from what others of the user have
                raise Refused("forbidden", "this user's rate is limited, and bench would only measure the limit")
        except Refused as refused:
            await refuse(stream, refused, early, peer.rate)
            raise
        with peer.carrying(stream):
            await serve_bench(stream, message, early)


async def _check_welcome(peer: Peer, stream: muxpy.Stream) -> None:
    """A stream may be open for long before it says what it wants: the rules of that moment count."""
    try:
        peer.check_welcome()
    except Refused as refused:
        await refuse(stream, refused)
        raise


def _read_from(stream: muxpy.Stream) -> int:
    figures = stream.statistics()
    return figures.data_received - figures.unread


async def _end_with(control: muxpy.Stream, holder: Holder) -> None:
    """The client has ended the forward, or its session is over."""
    try:
        while data := await control.receive_some():  # nobody reads it, but it has come
            if holder.peer.rate is not None:
                await holder.peer.rate.take(len(data))
    finally:
        holder.end()


async def _end_at(event: trio.Event, holder: Holder) -> None:
    await event.wait()
    holder.end()
