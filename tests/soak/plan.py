"""What one stream of the soak does: drawn by its opener, told to the other end in the stream's first bytes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from tests.helpers.content import named

if TYPE_CHECKING:
    from random import Random

__all__ = ["HEADER", "LARGEST", "POOL", "Act", "Kind", "Pace", "Piece", "Plan", "draw"]

LARGEST: Final = 3 * 1024 * 1024
"""Bytes of the largest message: many times the first window, and enough for a window to grow."""

POOL: Final = memoryview(named("pool", LARGEST + 65_537))
"""What is sent is a piece of this, from any offset: both processes have it, and bytes that moved show."""

HEADER: Final = 2
"""Bytes of the length before a plan."""


class Act(StrEnum):
    """How an end treats its stream."""

    WHOLE = "whole"  # sends all, receives all
    CLOSE = "close"  # closes while data is under way
    RESET = "reset"
    CANCEL = "cancel"  # is cancelled at some moment
    RAISE = "raise"  # the handler fails
    END = "end"  # the handler closes the whole session
    KILL = "kill"  # the handler kills the whole session


class Pace(StrEnum):
    """How an end reads."""

    FAST = "fast"
    SLOW = "slow"  # small reads with pauses
    NERVOUS = "nervous"  # each read may be cancelled, and is tried again: nothing may be lost
    IDLE = "idle"  # says nothing for a while first


class Kind(StrEnum):
    """What the handler does; the value of the stream's type is the position."""

    PLAIN = "plain"
    EARLY = "early"  # splices to a socket, with `early`
    HEAD = "head"  # splices to a socket, with `head`


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the pool."""

    offset: int
    size: int

    def first(self, count: int) -> memoryview:
        """The first `count` bytes of it."""
        return POOL[self.offset : self.offset + count]


@dataclass(frozen=True, slots=True)
class Plan:
    """One stream. Sizes are bytes, times are seconds."""

    there: Piece
    back: Piece
    seed: int
    opener: Act = Act.WHOLE
    handler: Act = Act.WHOLE
    pace: Pace = Pace.FAST
    in_turn: bool = False
    """The handler answers when it has read all; else both directions go at once."""
    kind: Kind = Kind.PLAIN
    after: int = 0
    """Bytes that an end which acts up has received before it does."""
    moment: float = 0.0
    """When an end that is cancelled is."""
    pause: float = 0.0
    """How long an idle stream says nothing."""

    @property
    def faulty(self) -> bool:
        """Whether an end acts up, so that the stream may be cut."""
        return self.opener is not Act.WHOLE or self.handler is not Act.WHOLE

    def encode(self) -> bytes:
        """The first bytes of the stream."""
        body = json.dumps(asdict(self)).encode()
        return len(body).to_bytes(HEADER, "big") + body

    @classmethod
    def decode(cls, body: bytes) -> Plan:
        """The plan of such bytes, without their length."""
        fields = json.loads(body)
        for name, kind in {"opener": Act, "handler": Act, "pace": Pace, "kind": Kind}.items():
            fields[name] = kind(fields[name])
        for name in ("there", "back"):
            fields[name] = Piece(**fields[name])
        return cls(**fields)


def draw(rng: Random) -> Plan:
    """Any stream: two of three are ordinary ones."""
    pace = rng.choices(list(Pace), [80, 6, 8, 6])[0]
    most = 128 * 1024 if pace is Pace.SLOW else LARGEST
    opener = handler = Act.WHOLE
    if rng.random() < 0.3:
        act = rng.choice([Act.CLOSE, Act.RESET, Act.CANCEL])
        if rng.random() < 0.5:
            opener = act
        else:
            handler = rng.choice([act, act, act, Act.RAISE])
    there, back = _piece(rng, most), _piece(rng, most)
    kind = rng.choices(list(Kind), [90, 5, 5])[0] if handler in (Act.WHOLE, Act.CANCEL) else Kind.PLAIN
    return Plan(
        there,
        back,
        seed=rng.getrandbits(32),
        opener=opener,
        handler=handler,
        pace=pace,
        in_turn=rng.random() < 0.4,
        kind=kind,
        after=rng.randint(0, back.size if opener is not Act.WHOLE else there.size),
        moment=rng.choice([0.0, rng.uniform(0, 0.002), rng.uniform(0, 0.05)]),
        pause=rng.uniform(0.1, 1.5) if pace is Pace.IDLE else 0.0,
    )


def _piece(rng: Random, most: int) -> Piece:
    """Nothing at all, or a size whose logarithm is drawn: mostly small."""
    top = rng.choices([0, 4_096, 65_536, 1_048_576, LARGEST], [15, 57, 18, 8, 2])[0]
    size = int(2 ** rng.uniform(0, top.bit_length() - 1)) if top else 0
    return Piece(rng.randint(0, 65_536), min(size, top, most))
