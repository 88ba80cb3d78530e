"""Slowing down, then shutting out, whoever tries one wrong token after the other."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ._addresses import parse_ip

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Throttle", "network_of"]

MAX_DELAY: Final = 30.0
"""Seconds. Each failure doubles the delay until then, from one."""
MAX_FAILURES: Final = 10
"""As many are answered, with delays of some two and a half minutes together; then the address is blocked."""
FORGET: Final = 300.0
"""Seconds without another failure after which an address is as good as new, so that a block ends as well."""
MAX_ADDRESSES: Final = 4096
"""Remembered at once, some hundred bytes each. Whoever has more addresses makes us forget the older ones: tokens
cannot be guessed anyway, and the table must not grow with the attack."""


@dataclass(slots=True)
class _Record:
    failures: int
    last: float


class Throttle:
    """Failures to authenticate, by address.

    The addresses of an IPv6 network of 64 bits count as one: a single machine has all of them.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._records: OrderedDict[str, _Record] = OrderedDict()  # the oldest failure first
        self.failures = 0
        """All there ever were."""

    def __len__(self) -> int:
        return len(self._records)

    def failed(self, address: str) -> None:
        """Count a failure."""
        self.failures += 1
        record = self._current(address)
        key = network_of(address)
        self._records[key] = _Record(record.failures + 1 if record else 1, self._clock())
        self._records.move_to_end(key)
        if len(self._records) > MAX_ADDRESSES:
            self._records.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """Forget the failures of an address: it was a mistake of somebody who may come in."""
        self._records.pop(network_of(address), None)

    def delay(self, address: str) -> float:
        """Seconds to wait before a failure is answered, or an attempt is looked at; 0.0 without failures."""
        record = self._current(address)
        return min(MAX_DELAY, 2.0 ** (min(record.failures, MAX_FAILURES) - 1)) if record else 0.0

    def blocked(self, address: str) -> bool:
        """Whether there were too many lately: close the connection without looking at it, and without counting it."""
        record = self._current(address)
        return record is not None and record.failures >= MAX_FAILURES

    def _current(self, address: str) -> _Record | None:
        record = self._records.get(network_of(address))
        if record is not None and self._clock() - record.last >= FORGET:
            del self._records[network_of(address)]
            return None
        return record


def network_of(address: str) -> str:
    """What counts as one address: it itself, or the network of 64 bits that it lies in."""
    ip = parse_ip(address)
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((ip, 64), strict=False))
    return str(ip) if ip else address
