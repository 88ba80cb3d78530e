"""Remote forwards (-R) at the listening end: a port bound at the wish of the connecting end."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import trio

from ._errors import Failure, describe
from ._net import CONNECT_TIMEOUT, bound_addresses, open_listeners, resolve
from ._specs import ALL_INTERFACES, Address, format_address
from ._tunnel import Unanswered, carry, refuse
from ._wire import Purpose, Refused, pack

if TYPE_CHECKING:
    import muxpy

    from ._console import Console
    from ._net import Rules

__all__ = ["serve_remote_forward"]


async def serve_remote_forward(
    session: muxpy.Session,
    control: muxpy.Stream,
    bind: Address,
    rules: Rules,
    console: Console,
    ending: trio.Event,
) -> None:
    """Bind, answer on `control`, and send a stream for each connection until `control` ends, or `ending` is set.

    Raises Refused, after having said so to the other end.
    """
    try:
        listeners = await _bind(bind, rules)
    except Refused as refused:
        await refuse(control, refused)
        raise
    forward = _RemoteForward(session, control, console)
    bound, peer = bound_addresses(listeners), format_address(session.remote_address)
    console.news(f"forwarding {bound} -> {peer}")
    try:
        await forward.serve(listeners, ending)
    finally:
        console.news(f"no longer forwarding {bound} -> {peer}")


async def _bind(bind: Address, rules: Rules) -> list[trio.SocketListener]:
    try:
        with trio.fail_after(CONNECT_TIMEOUT):
            addresses = [] if bind.host == ALL_INTERFACES else await resolve(bind.host)
        allowed = next((address for address in addresses if rules.allows(address)), None)
        if allowed is None:
            raise Refused("forbidden", f"cannot bind {bind}: {rules.text}")
        return await open_listeners(Address(allowed, bind.port))
    except (OSError, trio.TooSlowError) as error:
        raise Refused("unresolved", f"cannot bind {bind}: {describe(error)}") from error
    except Failure as failure:
        raise Refused("in use", str(failure)) from failure


class _RemoteForward:
    def __init__(self, session: muxpy.Session, control: muxpy.Stream, console: Console) -> None:
        self._session = session
        self._control = control
        self._console = console
        self._peer = format_address(session.remote_address)

    async def serve(self, listeners: list[trio.SocketListener], ending: trio.Event) -> None:
        # Connections outlive the forward that brought them, as with OpenSSH; they end with the session.
        async with trio.open_nursery() as relays:
            async with trio.open_nursery() as accepting:
                accepting.start_soon(self._stop, ending, accepting.cancel_scope)
                accepting.start_soon(partial(trio.serve_listeners, self._carry, listeners, handler_nursery=relays))
                with suppress(trio.BrokenResourceError):
                    await self._control.send_all(pack({"port": listeners[0].socket.getsockname()[1]}))
                    while await self._control.receive_some():
                        pass
                accepting.cancel_scope.cancel()
            await self._control.aclose()

    async def _stop(self, ending: trio.Event, accepting: trio.CancelScope) -> None:
        await ending.wait()
        accepting.cancel()

    async def _carry(self, near: trio.SocketStream) -> None:
        try:
            client = format_address(near.socket.getpeername())
        except OSError:  # gone already
            return
        opening = pack({"forward": self._control.id, "peer": client})
        try:
            await carry(self._session, Purpose.FORWARDED, opening, near)
        except Refused as refused:
            self._console.complain(f"{self._peer} refused {client}: {refused}")
        except Unanswered as error:
            self._console.complain(f"{client} to {self._peer}: {error}")
