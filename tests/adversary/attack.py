"""What an attack is, what comes of it, and how it is played."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import muxpy
from tests.helpers.load import until

from .scene import Scene, Seen, stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Attack", "Ends", "Ids", "Lives", "play"]


class Ids(NamedTuple):
    """Stream ids to attack with."""

    theirs: Sequence[int]
    """Of the peer's side, rising, not used yet."""
    ours: Sequence[int]
    """Of streams that the session has opened."""
    never: Sequence[int]
    """Never opened: one of the peer's side, far above all others, and one of the session's."""
    client: bool
    """The session's role."""


@dataclass(frozen=True, slots=True)
class Lives:
    """The session goes on. `answers`: all that it sends because of the attack, in order. `left`: streams that it has
    open afterwards, the honest one and heartbeats left out. None: it does not matter."""

    answers: Callable[[Ids], Sequence[Seen]] | None = lambda _: ()
    left: int | None = 0


@dataclass(frozen=True, slots=True)
class Ends:
    """The session ends with one GOAWAY: with this code, and a text that has these words in it. `answers`: what it sends
    before that; None if it does not matter."""

    code: muxpy.ErrorCode
    words: str
    answers: Callable[[Ids], Sequence[Seen]] | None = lambda _: ()


@dataclass(frozen=True, slots=True)
class Attack:
    """Frames that a peer sends, wave after wave, and the stated outcome."""

    name: str
    sends: Callable[[Ids], Iterable[bytes]]
    outcome: Lives | Ends
    config: muxpy.SessionConfig = field(default_factory=muxpy.SessionConfig)
    opens: int = 0
    """Streams that the session opens first."""
    serves: bool = True
    deaf: bool = False
    """The peer does not read until the session has ended, and the kernel takes little."""
    prepare: Callable[[muxpy.Session], object] = lambda _: None
    """What the application does first."""

    def __str__(self) -> str:
        return self.name


async def play(attack: Attack, kind: str, *, client: bool) -> None:
    """Play an attack, and compare what comes of it with what should."""
    config = replace(attack.config, linger_timeout=10)  # however busy the machine: what the peer reads ends it
    async with stage(kind, client=client, config=config, serves=attack.serves, narrow=attack.deaf) as scene:
        opened = [await scene.session.open_stream() for _ in range(attack.opens)]
        ids = Ids(
            theirs=[next(scene.ids) for _ in range(6000)],
            ours=[stream.id for stream in opened],
            never=(0x7FFFFFF0 + scene.honest % 2, 0x7FFFFFF0 + (1 - scene.honest % 2)),
            client=client,
        )
        attack.prepare(scene.session)
        await scene.settle()
        scene.seen.clear()
        scene.goaway = None
        if attack.deaf:
            await _send_deaf(scene, attack.sends(ids))
        else:
            for wave in attack.sends(ids):
                await scene.send(wave)
                await scene.settle()
        if isinstance(attack.outcome, Lives):
            await _check_that_it_lives(scene, attack.outcome, ids)
        else:
            await _check_that_it_ends(scene, attack.outcome, ids)


async def _send_deaf(scene: Scene, waves: Iterable[bytes]) -> None:
    """Send, read nothing, and see to it that what waits to be written stays within its limit."""
    await scene.go_deaf()
    config = scene.session.config
    for wave in waves:
        before = scene.session.statistics()
        received = before.bytes_received + len(wave)
        await scene.send(wave)
        # Each wave is a read of its own, or a few.
        await until(lambda due=received: scene.over or scene.session.statistics().bytes_received >= due)  # type: ignore[misc]
        waiting = scene.session.statistics().control_frames_waiting
        # As many as may wait, what this wave brought, and the last words for the streams whose handlers still ran.
        assert waiting <= config.max_control_frames + len(wave) // 8 + before.streams_open
        if scene.over:
            break
    scene.listen()


async def _check_that_it_lives(scene: Scene, outcome: Lives, ids: Ids) -> None:
    await scene.settle()
    if outcome.answers is not None:
        assert scene.seen == list(outcome.answers(ids))
    assert scene.goaway is None
    await scene.exchange(5000)
    statistics = scene.session.statistics()
    heartbeat = 1
    assert outcome.left in (statistics.streams_open - 1 - heartbeat, None)
    assert statistics.control_frames_waiting == 0
    assert not scene.errors or all(isinstance(error, muxpy.StreamReset) for error in scene.errors)


async def _check_that_it_ends(scene: Scene, outcome: Ends, ids: Ids) -> None:
    await scene.settle()
    assert scene.over
    end = await scene.session.wait()
    await scene.ended.wait()
    assert scene.goaway is not None
    assert scene.goaway.code == outcome.code
    assert outcome.words in scene.goaway.debug
    if outcome.answers is not None:
        assert scene.seen == [*outcome.answers(ids), Seen("GOAWAY", 0, outcome.code)]
    assert end.code == outcome.code
    assert isinstance(end.error, muxpy.ProtocolError)
    assert outcome.words in end.error.reason
    # Everyone who was waiting got to know, and why.
    assert scene.running == 0 or not scene.let_go.is_set()
    closed = [error for error in scene.errors if isinstance(error, muxpy.SessionClosed)]
    assert closed
    assert all(error.end is end and outcome.words in str(error) for error in closed)
    statistics = scene.session.statistics()
    assert statistics.backlog <= scene.session.config.accept_backlog
