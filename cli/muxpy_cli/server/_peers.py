"""All sessions that are served, by what they are asked for: no question walks through all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._peer import Peer, Usage

__all__ = ["Peers"]

_Key = TypeVar("_Key")


class Peers:
    """Those that have logged in and whose connections have not all ended, oldest first."""

    def __init__(self) -> None:
        # Dictionaries without values: sets that keep their order.
        self._all: dict[Peer, None] = {}
        self._users: dict[Usage, dict[Peer, None]] = {}
        self._runs: dict[tuple[Usage, str], dict[Peer, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Peer]:
        """A copy: whoever walks through it may let others have their turn, and some of them end meanwhile."""
        return iter(list(self._all))

    def add(self, peer: Peer) -> None:
        """It is served from now on."""
        self._all[peer] = None
        self._users.setdefault(peer.usage, {})[peer] = None
        self._runs.setdefault((peer.usage, peer.process), {})[peer] = None

    def remove(self, peer: Peer) -> None:
        """Nothing of it goes on."""
        del self._all[peer]
        _discard(self._users, peer.usage, peer)
        _discard(self._runs, (peer.usage, peer.process), peer)

    def has(self, usage: Usage) -> bool:
        """Whether any is the user's."""
        return usage in self._users

    def same_run(self, usage: Usage, process: str) -> list[Peer]:
        """The parallel sessions of one run of a client; none for a client that does not say which run it is."""
        return list(self._runs.get((usage, process), ())) if process else []


def _discard(groups: dict[_Key, dict[Peer, None]], key: _Key, peer: Peer) -> None:
    group = groups[key]
    del group[peer]
    if not group:
        del groups[key]
