"""Sessions that count as one party: they share one turn of the event loop, and one budget of resets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from muxpy._config import SessionConfig
from muxpy.proto import reset_buckets
from muxpy.transport import Turns

if TYPE_CHECKING:
    from muxpy.proto import TokenBucket

__all__ = ["SessionGroup", "resets_of", "turns_of"]


class SessionGroup:
    """Sessions that count as one party, such as all of one user, or all strangers who have not logged in yet.

    In each pass of Trio's scheduler at most one session of a group receives and acts on what it received, so a party
    holds up the others as little with a hundred sessions as with one. The peer's resets, and those that it provokes,
    are limited for the whole group, by `reset_burst` and `reset_rate` of `config`: a session that goes beyond ends.

    Made inside `trio.run`, and given to `open_session` or `Session.admit`.
    """

    def __init__(self, config: SessionConfig | None = None) -> None:
        config = config or SessionConfig()
        self._turns = Turns()
        self._resets = reset_buckets(config.reset_burst, config.reset_rate, trio.current_time)


def turns_of(group: SessionGroup) -> Turns:
    """Of the group's sessions, to receive and act on it. A function, since users have nothing to do with them."""
    return group._turns


def resets_of(group: SessionGroup) -> tuple[TokenBucket, TokenBucket]:
    """What limits the peer's resets, and those that it provokes."""
    return group._resets
