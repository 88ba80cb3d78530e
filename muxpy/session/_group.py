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
    """Sessions that count as one party, for example all sessions of one user, or of all strangers who have not logged
    in yet.

    In each pass of Trio's scheduler, at most one session of a group receives and acts on what it received. So a party
    delays others no more with a hundred sessions than with one. The resets of the group's peers, and those that they
    provoke, are limited for the whole group, by `reset_burst` and `reset_rate` of `config` (a token bucket each): a
    session that goes beyond the limit ends.

    Make a group inside `trio.run`, and give it to `open_session` or `Session.admit`.
    """

    def __init__(self, config: SessionConfig | None = None) -> None:
        config = config or SessionConfig()
        self._turns = Turns()
        self._resets = reset_buckets(config.reset_burst, config.reset_rate, trio.current_time)


def turns_of(group: SessionGroup) -> Turns:
    """The turns in which the group's sessions receive. It is a function, since users have nothing to do with turns."""
    return group._turns


def resets_of(group: SessionGroup) -> tuple[TokenBucket, TokenBucket]:
    """The token buckets for the resets of the group's peers, and for those that they provoke."""
    return group._resets
