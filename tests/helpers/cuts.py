"""A conversation over a transport that is cut at every byte of it."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Protocol, TypeVar

import pytest
import trio

from .links import Channel, Clip

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["cut_anywhere", "every_cut"]


class Conversation(Protocol):
    """What became of one."""

    failed: dict[str, Exception]
    """What stopped somebody."""


C = TypeVar("C", bound=Conversation)
T = TypeVar("T", bound="Callable[..., Awaitable[None]]")


def _cable_error() -> Exception:
    return trio.BrokenResourceError("the cable was cut")


def _reset_by_peer() -> Exception:
    return ConnectionResetError(104, "Connection reset by peer")


_PARAMETERS = (
    ("capacity", [inf, 16], ["free", "tight"]),
    ("direction", ["to server", "to client"], None),
    (("error", "step"), [(None, 1), (_cable_error, 5), (_reset_by_peer, 7)], ["eof", "broken", "reset"]),
)


def every_cut(test: T) -> T:
    """Decorator of a test that passes its parameters on to `cut_anywhere`."""
    for names, values, ids in reversed(_PARAMETERS):
        test = pytest.mark.parametrize(names, values, ids=ids)(test)
    return pytest.mark.no_cover(test)  # type: ignore[no-any-return] # the same ends at each byte


async def cut_anywhere(
    converse: Callable[[Channel, Channel], Awaitable[C]],
    check: Callable[[C], object],
    direction: str,
    capacity: float,
    error: Callable[[], Exception] | None,
    step: int,
) -> None:
    """Let both sides converse, with the channel `direction` cut after a number of bytes, for each `step`-th number.
    `converse` takes the channels to the server and to the client."""

    async def play(channel: Channel) -> C:
        other = Channel(capacity)
        return await converse(*((channel, other) if direction == "to server" else (other, channel)))

    whole = Channel(capacity)
    await play(whole)
    tasks = trio.lowlevel.current_statistics().tasks_living
    total = whole.passed
    assert total > 100
    for offset in range(0, total, step if capacity == inf else 4 * step):
        try:
            conversation = await play(Channel(capacity, clip=Clip(offset, error)))
            check(conversation)
            assert conversation.failed or offset > total - 100, "nobody noticed"
            assert trio.lowlevel.current_statistics().tasks_living == tasks
        except BaseException as problem:
            problem.add_note(f"cut {direction} after {offset} of {total} bytes")
            raise
