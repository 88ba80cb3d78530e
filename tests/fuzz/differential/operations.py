"""Random operations on a session with many streams, and a model of what they leave, so that none waits for ever.

Operations come in groups: those of one group run at the same time, and all that they put on the wire has arrived before
the next. So what each application sees follows from the protocol, and two peers that keep it must agree.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tests.helpers.content import COUNTED

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Group", "Name", "Operation", "Sequence", "content", "generate"]

Name = Literal["near", "far"]
"""The ends: near is muxpy, far is the Go peer or muxpy in its place."""

NAMES: tuple[Name, Name] = ("near", "far")
PRIORITIES = (0, 1, 7, 0x7FFFFFFF)
TYPES = (0, 0, 9, 0xFFFFFEFE)
CODES = (0, 2, 7, 99)
SIZES = (1, 4, 100, 4095, 4096, 16383, 16384, 32768)
LARGE = (32769, 65536, 65537, 200_000)
MOST_WAITING = 32768
"""Bytes that may wait unread and still leave a sender window. Half a window: muxpy gives the other half back late."""
MOST_STREAMS = 8


def content(stream: int, end: Name, start: int, size: int) -> bytes:
    """What an end sends on a stream, from an offset: bytes that show when one is lost, doubled or moved."""
    start += 2 * stream + (end == "far")
    return COUNTED[start : start + size]


@dataclass(frozen=True)
class Operation:
    """One thing that the application at one end does. `stream` counts from 0, in the order of opening."""

    end: Name
    kind: str
    stream: int = 0
    size: int = 0
    start: int = 0
    """The offset in the content where a write begins."""
    priority: int = 0
    stream_type: int = 0
    fin: bool = False
    code: int = 0

    def __str__(self) -> str:
        values = [f"{name}={getattr(self, name)}" for name in ("size", "priority", "stream_type", "fin", "code")]
        told = [value for value in values if not value.endswith(("=0", "=False"))]
        return " ".join([self.end, self.kind, f"stream {self.stream}", *told])


Group = list[Operation]


@dataclass
class Sequence:
    """Everything that is done, in order."""

    near_is_client: bool
    groups: list[Group]


@dataclass
class Stream:
    """What the model knows of a stream, by end."""

    number: int
    finished: set[Name] = field(default_factory=set)
    closed: set[Name] = field(default_factory=set)
    written: dict[Name, int] = field(default_factory=lambda: {"near": 0, "far": 0})
    unread: dict[Name, int] = field(default_factory=lambda: {"near": 0, "far": 0})
    dead: bool = False
    """It was reset."""
    opened_finished: bool = False

    @property
    def over(self) -> bool:
        return self.dead or len(self.finished) == 2 or len(self.closed) == 2


def other(end: Name) -> Name:
    return "far" if end == "near" else "near"


def generate(seed: int, length: int) -> Sequence:
    """The sequence of a seed: about `length` groups and an end. A shorter one begins like a longer one."""
    generator = Generator(seed)
    for _ in range(length):
        generator.add()
    generator.finish()
    return Sequence(generator.near_is_client, generator.groups)


class Generator:
    """Chooses operations, and keeps the model."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.groups: list[Group] = []
        self.streams: list[Stream] = []
        self.near_is_client = self.random.random() < 0.5
        self.ending = self.random.choice(("near closes", "far closes", "near goes away", "far goes away"))

    def add(self) -> None:
        """One more group: a new stream, or something on some of the streams at the same time."""
        random = self.random
        open_streams = [stream for stream in self.streams if not stream.over]
        if not self.streams or (len(open_streams) < MOST_STREAMS and random.random() < 0.25):
            self.open(random.choice(NAMES), fin=random.random() < 0.1)
            return
        chosen = random.sample(self.streams, k=min(len(self.streams), random.choice((1, 1, 2, 4))))
        groups = [self.operations(stream) for stream in chosen]
        if group := [operation for operations in groups for operation in operations]:
            self.groups.append(group)

    def open(self, end: Name, *, fin: bool = False) -> None:
        """Open a stream at one end, and accept it at the other."""
        stream = Stream(len(self.streams), opened_finished=fin)
        priority, stream_type = self.random.choice(PRIORITIES), self.random.choice(TYPES)
        opening = Operation(end, "open", stream.number, priority=priority, stream_type=stream_type, fin=fin)
        self.groups += [[opening], [Operation(other(end), "accept", stream.number)]]
        self.streams.append(stream)
        if fin:
            self.opened_finished(stream, end)

    def opened_finished(self, stream: Stream, end: Name) -> None:
        """What both kinds of peer agree on after a SYN with FIN: see `tolerance.py` for what they do not."""
        if end == "near":
            self.groups.append([Operation("near", "write", stream.number, size=1)])
        else:
            self.groups.append([Operation("near", "read_to_end", stream.number)])
        self.groups.append([Operation("near", "reset", stream.number, code=7)])
        stream.dead = True
        stream.closed.add("near")

    def operations(self, stream: Stream) -> Group:
        """Something for one stream."""
        end = self.random.choice(NAMES)
        choices: list[Callable[[Stream, Name], Group]] = [
            self.write,
            self.write,
            self.read,
            self.read,
            self.transfer,
            self.transfer,
            self.half_close,
            self.read_to_end,
            self.close,
            self.reset,
        ]
        return [] if stream.opened_finished else self.random.choice(choices)(stream, end)

    def write(self, stream: Stream, end: Name) -> Group:
        far = other(end)
        size = self.random.choice(SIZES)
        writing = Operation(end, "write", stream.number, size=size, start=stream.written[end])
        if stream.over or end in stream.finished or end in stream.closed:
            return [writing]  # which fails
        if far in stream.closed:
            if size > 16383:
                return []  # one frame: the answer to the first could come before the second is written
            stream.dead = True  # the answer is a reset
            return [writing]
        if stream.unread[far] + size > MOST_WAITING or stream.written[end] + size > len(COUNTED) // 2:
            return []
        stream.unread[far] += size
        stream.written[end] += size
        return [writing]

    def read(self, stream: Stream, end: Name) -> Group:
        unread = stream.unread[end]
        if stream.dead or end in stream.closed:
            return [Operation(end, "read_rest", stream.number)]
        if not unread:
            return []
        size = self.random.randint(1, unread)
        stream.unread[end] -= size
        return [Operation(end, "read", stream.number, size=size)]

    def transfer(self, stream: Stream, end: Name) -> Group:
        """More than a window goes through while the other end reads."""
        far = other(end)
        size = self.random.choice(LARGE)
        ended = stream.over or end in stream.finished or end in stream.closed or far in stream.closed
        if ended or stream.written[end] + size > len(COUNTED) // 2:
            return []
        whole = stream.unread[far] + size
        start = stream.written[end]
        stream.written[end] += size
        stream.unread[far] = 0
        return [
            Operation(end, "write", stream.number, size=size, start=start),
            Operation(far, "read", stream.number, size=whole),
        ]

    def half_close(self, stream: Stream, end: Name) -> Group:
        if stream.dead or end in stream.finished or end in stream.closed:
            return []
        far = other(end)
        size = self.random.choice((0, *SIZES)) if far not in stream.closed else 0
        if stream.unread[far] + size > MOST_WAITING or stream.written[end] + size > len(COUNTED) // 2:
            size = 0
        start = stream.written[end]
        stream.finished.add(end)
        stream.unread[far] += size
        stream.written[end] += size
        return [Operation(end, "half_close", stream.number, size=size, start=start)]

    def read_to_end(self, stream: Stream, end: Name) -> Group:
        if stream.dead or end in stream.closed or other(end) not in stream.finished:
            return []
        stream.unread[end] = 0
        return [Operation(end, "read_to_end", stream.number)]

    def close(self, stream: Stream, end: Name) -> Group:
        if stream.dead or end in stream.closed or self.random.random() < 0.5:
            return []
        stream.finished.add(end)
        stream.closed.add(end)
        return [Operation(end, "close", stream.number)]

    def reset(self, stream: Stream, end: Name) -> Group:
        if end == "far" or stream.dead or "near" in stream.closed or self.random.random() < 0.5:
            return []  # the Go peer has no reset
        stream.closed.add("near")
        stream.dead = len(stream.finished) < 2
        return [Operation("near", "reset", stream.number, code=self.random.choice(CODES))]

    def finish(self) -> None:
        """The end of the session, and what both ends see of it."""
        if self.ending.endswith("goes away"):
            end: Name = "near" if self.ending.startswith("near") else "far"
            self.groups += [[Operation(end, "go_away")], [Operation(other(end), "open_fails")]]
            self.open(end)  # it takes no streams, and may open its own
            for _ in range(4):
                self.groups += [group for stream in self.streams if (group := self.operations(stream))]
        if self.ending == "far closes":
            self.groups.append([Operation("far", "close_session")])
            for stream in self.streams:
                self.groups.append([Operation("near", "read_rest", stream.number)])
        else:
            for stream in self.streams:
                if not stream.dead:
                    self.groups += [
                        [Operation(end, "close", stream.number)] for end in NAMES if end not in stream.closed
                    ]
            self.groups.append([Operation("near", "close_session")])
        self.groups.append([Operation("near", "open_fails")])
        self.groups.append([Operation("near", "session_end")])
