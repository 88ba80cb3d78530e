"""Addresses that one file binds twice."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from ..access import known_addresses
from ..specs import ALL_INTERFACES, Address, Direction, Kind

if TYPE_CHECKING:
    from ..specs import Endpoint, Forward
    from ._document import Document
    from ._positions import Where
    from ._schema import Section

__all__ = ["check_bindings"]

_ALL: Final = {"4": "0.0.0.0", "6": "::"}


@dataclass(frozen=True, slots=True)
class _Binding:
    where: Where
    """The value that says it."""
    end: Direction
    """LOCAL: this end."""
    udp: bool
    endpoint: Endpoint


def check_bindings(document: Document, root: Section) -> None:
    """Note each address that is bound a second time, at the second place."""
    bindings = [*_forwards(document, root), *_others(root)]
    for first, second in combinations(bindings, 2):
        if (first.end, first.udp) == (second.end, second.udp) and _overlap(first.endpoint, second.endpoint):
            other = ".".join(map(str, first.where))
            document.wrong(
                second.where,
                f"{second.endpoint} is bound by {other}, too ({document.place(first.where)}); take another",
            )


def _forwards(document: Document, root: Section) -> list[_Binding]:
    forwards: dict[str, Forward] = root.get("forwards", {})
    return [
        _Binding(_bind_way(document, name), forward.direction, forward.kind is Kind.UDP, forward.bind)
        for name, forward in forwards.items()
    ]


def _bind_way(document: Document, name: str) -> Where:
    raw: Any = document.data["forwards"][name]
    return ("forwards", name, "listen") if isinstance(raw, dict) else ("forwards", name)


def _others(root: Section) -> list[_Binding]:
    ways = [(table, *rest) for table in ("listen", "connect") for rest in (("address",), ("output", "metrics"))]
    found = []
    for way in ways:
        value: Any = root
        for name in way:
            value = value.get(name, {})
        if isinstance(value, Address):
            found.append(_Binding(way, Direction.LOCAL, False, value))
    return found


def _overlap(one: Endpoint, other: Endpoint) -> bool:
    if not isinstance(one, Address) or not isinstance(other, Address):
        return one == other
    if one.port != other.port or one.port == 0:  # 0 is any free port
        return False
    return _covers(one.host, other.host) or _covers(other.host, one.host)


def _covers(one: str, other: str) -> bool:
    """Whether who binds `one` has bound `other` with it."""
    ones, others = (known_addresses(host) or (host.lower(),) for host in (one, other))
    everywhere = {_ALL["6" if ":" in host else "4"] for host in others}
    return one == ALL_INTERFACES or one in everywhere or not set(ones).isdisjoint(others)
