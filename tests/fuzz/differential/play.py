"""Plays a sequence of operations with either kind of far end, and compares."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

import trio

import muxpy
from tests.helpers.pairs import session_pair
from tests.interop.link import linked

from .ends import GoEnd, MuxpyEnd, Outcome
from .operations import Name, Operation, Sequence, generate
from .tolerance import same

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from .ends import End
    from .operations import Group

__all__ = ["Difference", "compare", "play", "shortest"]

Kind = Literal["go", "muxpy"]
Played = list[tuple[Operation, Outcome]]

CONFIG = muxpy.SessionConfig(heartbeat_interval=None, drain_timeout=0.5)
"""No heartbeats, so that ids are the same; with no stream open there is nothing to drain."""
PATIENCE = 30.0
"""Seconds for one sequence, which takes a tenth of one. A hang is found sooner, by its group."""
GROUP_PATIENCE = 10.0
WAYS: tuple[tuple[Name, Name], ...] = (("near", "far"), ("far", "near"))
ENDINGS = ("close_session", "open_fails", "session_end")


class Difference(Exception):
    """Two peers that should do the same did not, or one did not do what it was told."""


async def compare(seed: int, length: int) -> int:
    """Play a sequence with both kinds of far end; raises Difference. How many operations there were."""
    sequence = generate(seed, length)
    with_go, with_muxpy = await attempt(sequence, "go"), await attempt(sequence, "muxpy")
    for (operation, go), (_, ours) in zip(with_go, with_muxpy, strict=True):
        if not same(operation, go, ours):
            raise Difference(f"{operation}: with Go {go}; with muxpy {ours}\n{told(with_go, operation)}")
    return len(with_go)


async def attempt(sequence: Sequence, kind: Kind) -> Played:
    """`play`, with all that goes wrong as a Difference: what hangs, an end of the session that nobody asked for."""
    try:
        with trio.fail_after(PATIENCE):
            return await play(sequence, kind)
    except Difference:
        raise
    except Exception as error:
        raise Difference(f"with {kind} as the far end the session failed: {error!r}") from error


def told(played: Played, last: Operation) -> str:
    """What led there: the operations on the same stream, with their outcomes."""
    lines = []
    for operation, outcome in played:
        if operation.stream == last.stream or operation.kind in ("go_away", *ENDINGS):
            lines.append(f"  {operation}: {outcome}")
        if operation is last:
            break
    return "\n".join(lines)


async def shortest(seed: int, length: int) -> tuple[int, str]:
    """The least length at which the sequence of a seed still fails, and how; `length` itself is known to fail."""
    for shorter in range(length + 1):
        try:
            await compare(seed, shorter)
        except Difference as difference:
            return shorter, str(difference)
    return length, "it did not fail a second time"


async def play(sequence: Sequence, kind: Kind) -> Played:
    """Carry out a sequence; each operation with what came of it."""
    played: Played = []
    async with joined(kind, near_is_client=sequence.near_is_client) as ends:
        await settle(ends)
        open_session = True
        for group in sequence.groups:
            await play_group(ends, group, played, kind)
            open_session = open_session and group[0].kind != "close_session"
            if open_session:
                await settle(ends)
    return played


async def play_group(ends: dict[Name, End], group: Group, played: Played, kind: Kind) -> None:
    """Carry out the operations of a group at the same time."""
    outcomes: dict[int, Outcome] = {}

    async def do(index: int, operation: Operation) -> None:
        outcomes[index] = await ends[operation.end].do(operation)

    with trio.move_on_after(GROUP_PATIENCE) as scope:
        async with trio.open_nursery() as nursery:
            for index, operation in enumerate(group):
                nursery.start_soon(do, index, operation)
    if scope.cancelled_caught:
        hanging = [str(operation) for index, operation in enumerate(group) if index not in outcomes]
        raise Difference(
            f"with {kind} as the far end this did not return: {', '.join(hanging)}\n{told(played, group[0])}"
        )
    played += [(operation, outcomes[index]) for index, operation in enumerate(group)]


async def settle(ends: dict[Name, End]) -> None:
    """Let all that is on its way arrive, the answers to it, and the answers to those: frames come in order."""
    for _ in range(2):
        for sender, receiver in WAYS:
            await ends[sender].ping()
            await ends[receiver].pong()


@asynccontextmanager
async def joined(kind: Kind, *, near_is_client: bool) -> AsyncGenerator[dict[Name, End], None]:
    """A near end, and a far end of either kind."""
    if kind == "go":
        role: Literal["client", "server"] = "client" if near_is_client else "server"
        async with linked(role, "-no-heartbeat", config=CONFIG, patience=PATIENCE) as (session, peer):
            yield {"near": MuxpyEnd(session), "far": GoEnd(peer)}
    else:
        async with session_pair("unix", client_config=CONFIG, server_config=CONFIG) as pair:
            near, far = pair if near_is_client else pair[::-1]
            yield {"near": MuxpyEnd(near), "far": MuxpyEnd(far)}
