"""PINGs that wait for their answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muxpy.frame.http2 import encode_ping

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._common import Common

__all__ = ["Pings"]


class Pings:
    """The PINGs of this side."""

    __slots__ = ("_common", "_number", "_waiting")

    def __init__(self, common: Common) -> None:
        self._common = common
        self._number = 0
        self._waiting: dict[bytes, tuple[float, Callable[[], None]]] = {}

    def send(self, then: Callable[[], None]) -> None:
        """Send one, and call `then` when its answer comes. The call comes in the midst of other work, so it must
        neither raise nor wait."""
        self._number += 1
        data = self._number.to_bytes(8, "big")
        self._waiting[data] = self._common.clock(), then
        self._common.sending.outbox.put(encode_ping(data, ack=False), counts=False)

    def answered(self, data: bytes) -> None:
        """An answer has come: it measures the round trip. One that was not asked for is ignored."""
        found = self._waiting.pop(data, None)
        if found is not None:
            since, then = found
            now = self._common.clock()
            self._common.budget.rtt.sample(now - since, now)
            then()
