"""The same operations with the live Go peer and with muxpy in its place: what applications see is the same."""

from __future__ import annotations

from itertools import chain

import pytest

from tests.interop.gopeer import PROGRAM

from .operations import Sequence, content, generate
from .play import Difference, compare, play
from .tolerance import same

LENGTH = 25
SEEDS = range(20)


@pytest.mark.live_peer
@pytest.mark.parametrize("seeds", [SEEDS[::2], SEEDS[1::2]], ids=["even", "odd"])
async def test_random_operations_come_to_the_same(seeds: range) -> None:
    """Fixed seeds, so that what fails once fails again."""
    PROGRAM.require()
    for seed in seeds:
        try:
            await compare(seed, LENGTH)
        except Difference as difference:
            pytest.fail(
                f"python -m tests.fuzz.differential --seed {seed} --length {LENGTH}\n{difference}", pytrace=False
            )


async def test_what_is_read_is_what_was_written() -> None:
    """Against the model too: two wrong peers might agree."""
    sequence = generate(4, 60)
    read: dict[tuple[str, int], bytes] = {}
    for operation, outcome in await play(sequence, "muxpy"):
        if operation.kind.startswith("read"):
            key = operation.end, operation.stream
            read[key] = read.get(key, b"") + outcome.data
    assert sum(map(len, read.values())) > 100_000
    for (end, stream), data in read.items():
        assert data == content(stream, "far" if end == "near" else "near", 0, len(data))


def test_a_shorter_sequence_begins_like_a_longer_one() -> None:
    """Else shortening would not lead to the same failure."""
    short, long = kinds(generate(9, 10)), kinds(generate(9, 30))
    assert short[:10] == long[:10]


def kinds(sequence: Sequence) -> list[str]:
    return [str(operation) for operation in chain(*sequence.groups)]


def test_sequences_hold_every_kind_of_operation() -> None:
    operations = list(chain(*(chain(*generate(seed, LENGTH).groups) for seed in SEEDS)))
    assert {operation.kind for operation in operations} == {
        "accept",
        "close",
        "close_session",
        "go_away",
        "half_close",
        "open",
        "open_fails",
        "read",
        "read_rest",
        "read_to_end",
        "reset",
        "session_end",
        "write",
    }
    assert any(operation.fin for operation in operations)
    assert any(operation.size > 65536 for operation in operations)


async def test_a_difference_that_is_not_listed_is_reported() -> None:
    """Of two outcomes that differ, only those of the list pass."""
    played = await play(generate(1, 10), "muxpy")
    operation, outcome = next(each for each in played if each[0].kind == "read")
    other = type(outcome)(outcome.words, outcome.data[:-1] + b"?")
    assert same(operation, outcome, outcome)
    assert not same(operation, other, outcome)
    assert not same(operation, type(outcome)("closed"), outcome)
