"""What happens on each stream of a round. Both sides derive it from the seed and the stream's number (its type), so
each knows every byte and the length without being told."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final, Literal, TypeAlias, get_args

from tests.helpers.content import named

__all__ = ["WHOLE", "Play", "Script", "content", "script_of"]

Play: TypeAlias = Literal["exchange", "echo", "ask", "push", "reset", "reset back", "cancel", "quit"]
PLAYS: Final[tuple[Play, ...]] = get_args(Play)
"""
exchange    both sides send and read at once, each to the end
echo        the other side sends everything back
ask         all there, half-close, then all back
push        opened with FIN: only the other side sends
reset       the opener resets in the middle of its data
reset back  the other side resets in the middle of reading
cancel      the opener is cancelled in the middle of sending, maybe
quit        the other side closes in the middle of reading
"""

WHOLE: Final = ("exchange", "echo", "ask", "push")
"""Plays that nothing but the link can stop: on a good one every byte arrives."""

SIZES: Final = ((0, 0), (1, 10), (10, 3000), (3000, 30_000), (30_000, 150_000))
SHARES: Final = (1, 3, 8, 5, 2)


@dataclass(frozen=True, slots=True)
class Script:
    """One stream. Sizes are bytes: `there` from the opener, `back` to it; `stop`: where it is broken off."""

    number: int
    play: Play
    there: int
    back: int
    stop: int
    priority: int
    code: int


def script_of(seed: int, number: int) -> Script:
    """What stream `number` of the round with `seed` does."""
    rng = Random(f"script {seed} {number}")
    there, back = _size(rng), _size(rng)
    play = rng.choices(PLAYS, (4, 4, 3, 2, 1, 1, 1, 1))[0]
    if play not in WHOLE:
        there = max(there, 10)  # something to break off
    return Script(
        number=number,
        play=play,
        there=there,
        back=there if play == "echo" else back,
        stop=rng.randrange(there) if there else 0,
        priority=rng.choice([0, 0, 1, 100, 2**31 - 1]),
        code=rng.choice([1, 2, 7, 99, 2**32 - 1]),
    )


def _size(rng: Random) -> int:
    least, most = rng.choices(SIZES, SHARES)[0]
    return rng.randint(least, most)


def content(seed: int, script: Script, *, there: bool) -> bytes:
    """All bytes of one direction: no two streams, directions or seeds have the same."""
    if script.play == "echo":
        there = True  # what comes back is what was sent
    name = f"{seed} {script.number} {'there' if there else 'back'}"
    return named(name, script.there if there else script.back)
