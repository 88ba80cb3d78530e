"""What a bad link does to what it carries, decided by a seed: one plan for each direction.

`Mangler` applies such a plan to bytes and knows no link: the one in memory and the one over TCP share it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from muxpy.frame.http2 import PREFACE
from muxpy.frame.muxado._header import HEADER_SIZE, LENGTH_MASK

__all__ = ["FAULTS", "Damage", "Fault", "LinkPlan", "Mangler", "WayPlan", "plan_link"]

Fault: TypeAlias = Literal["none", "corrupt", "rst", "eof", "truncate", "boundary", "lose"]
FAULTS: Final[tuple[Fault, ...]] = get_args(Fault)
"""
none      delays, splits and joins, and nothing worse
corrupt   flips bits, deletes, duplicates and inserts bytes, and goes on
rst       both ends get a reset at some byte; what was on its way is lost
eof       both ends get an ordinary end at some byte
truncate  the receiver gets an ordinary end at some byte; the sender notices nothing
boundary  the same, behind a whole frame (without TLS: there the boundaries cannot be seen)
lose      from some byte on nothing arrives, and nobody is told
"""

Act: TypeAlias = Literal["flip", "delete", "duplicate", "insert"]
ACTS: Final[tuple[Act, ...]] = get_args(Act)

MAX_CUTS: Final = 12
"""Places where what is sent at once is split: enough to cut headers and bodies, few enough to stay fast."""
REACH: Final = 4_000_000
"""Faults lie before this byte, most of them long before: a round carries a few million in each direction."""


@dataclass(frozen=True, slots=True)
class Damage:
    """What happens to `size` bytes at `offset`."""

    offset: int
    act: Act
    size: int


class Shape(NamedTuple):
    """Where frames begin and end: bytes before the first, bytes of a header, and the length in its first bytes."""

    before: int
    header: int
    length: int  # bytes
    mask: int


MUXADO: Final = Shape(0, HEADER_SIZE, 2, LENGTH_MASK)
FROM_CLIENT: Final = Shape(len(PREFACE), 9, 3, 0xFFFFFF)
FROM_SERVER: Final = Shape(0, 9, 3, 0xFFFFFF)
"""Of HTTP/2."""


@dataclass(frozen=True, slots=True)
class WayPlan:
    """One direction. `delay`: seconds that a piece is held at most. `at`: the byte where the fault lies."""

    seed: str
    delay: float
    cuts: int
    fault: Fault = "none"
    at: int = 0
    damage: tuple[Damage, ...] = ()
    shape: Shape = MUXADO


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """Both directions: from the client to the server and back."""

    there: WayPlan
    back: WayPlan
    fault: Fault


def plan_link(seed: int, *, longest_delay: float, tls: bool, http2: bool, fault: Fault | None = None) -> LinkPlan:
    """The plan of `seed`. At least one direction has the fault, if there is one."""
    rng = Random(f"link {seed}")
    chosen = rng.choice([name for name in FAULTS if not (tls and name == "boundary")])
    fault = fault or chosen
    bad = rng.choice([(True, False), (False, True), (True, True)])
    there, back = (
        _plan_way(Random(f"way {seed} {name}"), fault if worse else "none", longest_delay, shape if http2 else MUXADO)
        for name, worse, shape in (("there", bad[0], FROM_CLIENT), ("back", bad[1], FROM_SERVER))
    )
    return LinkPlan(there, back, fault)


def _plan_way(rng: Random, fault: Fault, longest_delay: float, shape: Shape) -> WayPlan:
    damage: tuple[Damage, ...] = ()
    if fault == "corrupt":
        offsets = sorted(_somewhere(rng) for _ in range(rng.choice([1, 1, 2, 5, 20])))
        damage = tuple(Damage(offset, rng.choice(ACTS), rng.choice([1, 1, 2, 8, 100])) for offset in offsets)
    return WayPlan(
        seed=f"{rng.random()}",
        delay=rng.choice([0.0, longest_delay / 20, longest_delay]),
        cuts=rng.choice([0, 1, MAX_CUTS]),
        fault=fault,
        at=_somewhere(rng),
        damage=damage,
        shape=shape,
    )


def _somewhere(rng: Random) -> int:
    """Early bytes as likely as late ones by order of magnitude: the beginning of a session is where most happens."""
    return int(10 ** rng.uniform(0, 6.6)) if rng.random() < 0.5 else rng.randrange(REACH)


class Mangler:
    """Bytes in, pieces out, each with the seconds that it is held. `over` once the fault that ends the way is there."""

    def __init__(self, plan: WayPlan) -> None:
        self.plan = plan
        self.over = False
        self.damaged = 0  # damage done
        self.dropped = 0  # bytes that came after the end of the way
        self._rng = Random(plan.seed)
        self._taken = 0  # bytes that came in before the end
        self._damage = list(plan.damage)
        self._frames = Frames(plan.shape)

    def feed(self, data: bytes) -> list[tuple[float, bytes]]:
        """What becomes of `data`."""
        kept = data[: self._room(data)]
        self.dropped += len(data) - len(kept)
        start = self._taken
        self._taken += len(kept)
        return self._pieces(self._damaged(kept, start))

    def _room(self, data: bytes) -> int:
        if self.over:
            return 0
        if self.plan.fault in ("none", "corrupt"):
            return len(data)
        if self.plan.fault == "boundary":
            end = self._frames.boundary(data, self.plan.at)
            self.over = end is not None
            return len(data) if end is None else end
        room = self.plan.at - self._taken
        self.over = room <= len(data)
        return room

    def _damaged(self, data: bytes, start: int) -> bytes:
        changed = bytearray(data)
        # From the last to the first: what was changed must not move what is still to be.
        due = [damage for damage in self._damage if damage.offset < start + len(data)]
        self._damage = self._damage[len(due) :]
        for damage in reversed(due):
            self._do(damage, changed, damage.offset - start)
        return bytes(changed)

    def _do(self, damage: Damage, data: bytearray, at: int) -> None:
        part = data[at : at + damage.size]
        if not part:
            return
        self.damaged += 1
        if damage.act == "flip":
            data[at : at + len(part)] = bytes(byte ^ self._rng.randrange(1, 256) for byte in part)
        elif damage.act == "delete":
            del data[at : at + len(part)]
        elif damage.act == "duplicate":
            data[at:at] = part
        else:
            data[at:at] = self._rng.randbytes(damage.size)

    def _pieces(self, data: bytes) -> list[tuple[float, bytes]]:
        if not data:
            return []
        places = sorted({self._place(len(data)) for _ in range(self.plan.cuts)} - {0})
        edges = [0, *places, len(data)]
        return [(self._rng.uniform(0, self.plan.delay), data[start:end]) for start, end in pairwise(edges)]

    def _place(self, size: int) -> int:
        # Half of them near the beginning, where the header of a frame is likely to be.
        return self._rng.randrange(min(size, 2 * HEADER_SIZE) if self._rng.random() < 0.5 else size)


class Frames:
    """Follows the frames of a way without TLS."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._offset = 0
        self._header = bytearray()
        self._left = shape.before  # of the body

    def boundary(self, data: bytes, least: int) -> int | None:
        """Where in `data` a frame ends that has all of the first `least` bytes before it."""
        position = 0
        while position < len(data):
            if not self._left:
                part = data[position : position + self._shape.header - len(self._header)]
                self._header += part
                position += len(part)
                if len(self._header) < self._shape.header:
                    break
                self._left = int.from_bytes(self._header[: self._shape.length], "big") & self._shape.mask
                self._header.clear()
            taken = min(self._left, len(data) - position)
            self._left -= taken
            position += taken
            if not self._left and self._offset + position >= least:
                return position
        self._offset += len(data)
        return None
