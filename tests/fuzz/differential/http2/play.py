"""Plays plans with muxpy at both ends, and with Go at either, and compares."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio

from . import gos, ours
from .plan import Plan
from .views import common, expected_by_client, expected_by_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from tests.interop.http2.tls import Tls

    from .plan import Exchange
    from .views import View

__all__ = ["Difference", "Ends", "all_ends", "compare", "smallest"]

PATIENCE = 20.0
"""Seconds for one plan, which takes a tenth of one."""


class Difference(Exception):
    """An application did not see what it must see."""


class Server(Protocol):
    """Either server."""

    port: int

    async def begin(self, plan: Plan) -> None:
        """Answer this plan from now on."""

    async def views(self) -> list[View]:
        """What the application saw, as soon as it has seen all."""


class Ends:
    """Servers and clients that run."""

    def __init__(
        self, tls: Tls | None, our_server: ours.Server, go_server: gos.GoServer, go_client: gos.GoClient
    ) -> None:
        our_ask = partial(ours.ask, tls)
        self.ways: dict[str, tuple[Server, Callable[[int, Plan], Awaitable[list[View]]]]] = {
            "muxpy asks muxpy": (our_server, our_ask),
            "muxpy asks Go": (go_server, our_ask),
            "Go asks muxpy": (our_server, go_client.ask),
        }


@asynccontextmanager
async def all_ends(tls: Tls | None) -> AsyncIterator[Ends]:
    """Run them as long as the block, over TLS if there is a certificate."""
    async with ours.serving(tls) as our_server, gos.running(tls) as (go_server, go_client):
        yield Ends(tls, our_server, go_server, go_client)


async def compare(ends: Ends, plan: Plan) -> None:
    """Play a plan in all ways; raises Difference."""
    for way in ends.ways:
        await play(ends, way, plan)


async def play(ends: Ends, way: str, plan: Plan) -> None:
    """Play a plan in one way. Each application must see what the plan says: so all ways are the same."""
    server, ask = ends.ways[way]
    try:
        with trio.fail_after(PATIENCE):
            await server.begin(plan)
            views = await ask(server.port, plan)
    except Exception as error:
        raise Difference(f"{way}, the client: {error!r}") from error
    for exchange in plan.exchanges:
        check(exchange, f"{way}, the client", views, expected_by_client(exchange))
    try:
        with trio.fail_after(PATIENCE):
            views = await server.views()
    except Exception as error:
        raise Difference(f"{way}, the server: {error!r}") from error
    for exchange in plan.exchanges:
        check(exchange, f"{way}, the server", views, expected_by_server(exchange))


def check(exchange: Exchange, who: str, views: Sequence[View], expected: View | None) -> None:
    """Raise Difference if the view of an exchange is not the expected one."""
    view = next((view for view in views if view.number == exchange.number), None)
    seen = asdict(common(view, exchange)) if view else {}
    wanted = asdict(expected) if expected else {}
    if seen != wanted:
        names = [name for name in {**seen, **wanted} if seen.get(name) != wanted.get(name)]
        lines = [f"  {name}: {seen.get(name)!r}, not {wanted.get(name)!r}" for name in names]
        raise Difference("\n".join([f"{who} saw", *lines, f"  of {exchange}"]))


async def smallest(tls: Tls | None, plan: Plan) -> tuple[Plan, str] | None:
    """The exchange of a plan that fails alone, and how, if there is one."""
    for exchange in plan.exchanges:
        alone = Plan(plan.seed, plan.streams, [exchange])
        try:
            async with all_ends(tls) as ends:  # new ones: those that hang stay so
                await compare(ends, alone)
        except Difference as difference:
            return alone, str(difference)
    return None
