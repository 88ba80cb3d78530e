"""Random exchanges, requests and their responses, and what each application must see of them.

All exchanges of a plan run at the same time on one connection. Each is made so that what its applications see follows
from the protocol, whoever is faster: an end gives up only when the other is known to have come so far.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tests.helpers.content import COUNTED

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Exchange", "Field", "Plan", "content", "generate", "shown_content"]

Field = tuple[str, str]
"""A name and a value, whose characters are the bytes on the wire."""

METHODS = ("GET", "GET", "POST", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "PROPFIND", "m~!#$%&'*+-.^_`|9")
PATHS = ("/", "/a/b?c=d&e", "//twice//", "/?", "/%41%2f%00", "/a;b=c/..;/", "/*", "/~!$&'()*+,;=:@", "/x?a=b?c=/d")
AUTHORITIES = ("example.test", "example.test:8443", "[::1]:80", "127.0.0.1", "EXAMPLE.test")
NAMES = ("x-a", "x-b", "x_under", "x-!#$%&'*+.^_`|~", "accept", "cache-control", "authorization", "etag", "x-0", "link")
VALUES = (
    "",
    "1",
    "a, b",
    'q="a;b"',
    "in  side",
    "tab\there",
    "caf\xe9",
    "\xff\x80",
    "~" * 60,
    "=?utf-8?",
    "Basic Og==",
)
LONG = "z9" * 9_000
"""More than one frame of a head."""
SINGLE = (
    ("user-agent", "someone/1.0"),
    ("te", "trailers"),
    ("priority", "u=1, i"),
    ("content-type", "text/plain"),
    ("range", "bytes=0-"),
    ("accept-encoding", "gzip"),
    ("referer", "http://a/"),
    ("expect", "100-continue"),
)
TRAILER_NAMES = ("x-sum", "x-after", "grpc-status", "server-timing")
NARROW = 3
"""Streams at the same time in one plan of four: the client has to wait. Nothing is reset in these, since a server may
still be busy with what its client has given up, and refuse the next."""
STATUSES = (200, 200, 200, 201, 202, 206, 299, 301, 404, 418, 500, 503, 599)
BODILESS = (204, 304)
SIZES = (0, 1, 9, 100, 4096, 16_383, 16_384, 16_385, 30_000)
LARGE = (65_535, 65_536, 100_000, 300_000)
SMALL = (0, 1, 100, 5_000)
"""Of these, four fit every window."""


@dataclass(frozen=True)
class Exchange:
    """One request and its response: what both ends do."""

    number: int
    method: str = "GET"
    path: str = "/"
    authority: str = "example.test"
    fields: tuple[Field, ...] = ()
    body: tuple[int, ...] | None = None
    """Bytes of each part; None: the request ends with its head."""
    length: bool = False
    """Whether there is a content-length."""
    trailers: tuple[Field, ...] = ()
    wait_at: int = -1
    """The part of the body before which the client waits; as many as there are: before the end."""
    wait_for: Literal["head", "body"] = "head"
    """What it waits for: the head of the response, or all that is sent of its body."""
    client_reset: Literal["", "open", "closed", "at any time"] = ""
    """The client gives up when it has seen all of the response but its end, with its own body open or ended; or as soon
    as it has sent its body but not the end: then the server sees a part, or nothing."""
    answer: Literal["late", "early", "unread"] = "late"
    """The server answers when it has read the body, or reads the body between the response's and its end, or not."""
    status: int = 200
    response_fields: tuple[Field, ...] = ()
    response_body: tuple[int, ...] = ()
    response_length: bool = False
    response_trailers: tuple[Field, ...] = ()
    announce: bool = False
    """Whether the response says in `trailer` which trailers will come."""
    server_reset: int = -1
    """The server breaks off: 0 before the head, 1 after it, N after N - 1 parts of the body."""
    flush: bool = False
    """Whether the server hands on each part alone; otherwise it may answer at a stroke."""

    @property
    def bodiless(self) -> bool:
        """The response ends with its head."""
        return self.method == "HEAD" or self.status in BODILESS

    def __str__(self) -> str:
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        plain = Exchange(-1)
        return "Exchange(" + ", ".join(f"{k}={v!r:.300}" for k, v in values.items() if v != getattr(plain, k)) + ")"


@dataclass(frozen=True)
class Plan:
    """All that happens on one connection."""

    seed: int
    streams: int
    """How many the server takes at the same time; 0: as many as it likes."""
    exchanges: Sequence[Exchange]


def content(number: int, end: Literal["client", "server"], start: int, size: int) -> bytes:
    """A part of what an end sends in an exchange."""
    start = (start + 2 * number + (end == "server")) % 251
    return COUNTED[start : start + size]


def shown_content(data: bytes) -> str:
    """As views have it."""
    return f"{len(data)} bytes {hashlib.sha256(data).hexdigest()[:16]}"


def generate(seed: int, count: int, only: Sequence[int] = ()) -> Plan:
    """The plan of a seed. Each exchange has a source of its own, so that `only` some leaves the others as they are."""
    numbers = only or range(count)
    narrow = seed % 4 == 3
    exchanges = [_Maker(f"{seed}-{number}", number).make(narrow=narrow) for number in numbers]
    return Plan(seed, NARROW if narrow else 0, exchanges)


class _Maker:
    """Makes one exchange."""

    def __init__(self, name: str, number: int) -> None:
        self.random = random.Random(name)
        self.name = name
        self.number = number

    def make(self, *, narrow: bool) -> Exchange:
        weights = (6, 4, 0, 0, 0) if narrow else (6, 4, 1, 1, 1)
        kind = self.random.choices(("late", "early", "unread", "client resets", "server resets"), weights)[0]
        make = {
            "late": self.late,
            "early": self.early,
            "unread": self.unread,
            "client resets": self.client_resets,
            "server resets": self.server_resets,
        }[kind]
        return make()

    def late(self) -> Exchange:
        return self.exchange(self.random.choice(METHODS), status=self.status(), flush=self.maybe(0.5))

    def early(self) -> Exchange:
        """The bodies pass each other, and one may wait for the other. Go's client stops its body at a status of 300 or
        more, and any end may when the response has ended with its head."""
        body = self.sizes() or (7,)
        waits = {"wait_at": self.random.randint(0, len(body)), "wait_for": self.random.choice(("head", "body"))}
        return self.exchange(
            self.random.choice(("POST", "PUT", "GET")),
            answer="early",
            body=body,
            **(waits if self.maybe(0.6) else {}),
        )

    def unread(self) -> Exchange:
        """Go's server ends the connection if trailers come for a stream that it has just reset."""
        return self.exchange(
            "POST", answer="unread", body=self.sizes(), trailers=(), status=self.random.choice(STATUSES)
        )

    def client_resets(self) -> Exchange:
        """What the client has seen shows how far the server is: that it reads, or that it has read all."""
        client_reset, answer = self.random.choice((("open", "early"), ("closed", "late"), ("at any time", "early")))
        return self.exchange(
            "POST",
            answer=answer,
            body=tuple(self.random.choices(SMALL, k=self.random.randint(0, 4))),
            length=False,
            client_reset=client_reset,
            flush=True,
            response_body=tuple(self.random.choices(SMALL[1:], k=self.random.randint(0, 4))),
            response_length=False,
        )

    def server_resets(self) -> Exchange:
        response_body = tuple(self.random.choices(SMALL, k=self.random.randint(0, 4)))
        read: dict[str, object] = {} if self.maybe(0.5) else {"answer": "unread", "trailers": ()}
        return self.exchange(
            self.random.choice(("GET", "POST")),
            response_body=response_body,
            server_reset=self.random.randint(0, len(response_body) + 1),
            **read,
        )

    def exchange(self, method: str, **given: object) -> Exchange:
        """With all that was not given by chance."""
        status = given.get("status", self.random.choice((200, 200, 201, 206)))
        bodiless = method == "HEAD" or status in BODILESS
        body = given.get("body", None if method in ("HEAD", "GET") or self.maybe(0.2) else self.sizes())
        made: dict[str, object] = {
            "method": method,
            "path": self.path(),
            "authority": self.random.choice(AUTHORITIES),
            "fields": (("x-exchange", self.name), *self.fields(), *self.cookies(), *self.singles()),
            "body": body,
            "length": body is not None and self.maybe(0.4),
            "trailers": self.trailers() if body is not None and self.maybe(0.3) else (),
            "status": status,
            "response_fields": (*self.fields(), *self.set_cookies()),
            "response_body": () if status in BODILESS else self.sizes(),
            "response_length": self.maybe(0.4) and status not in BODILESS,
            "response_trailers": self.trailers() if not bodiless and self.maybe(0.4) else (),
            **given,
        }
        made["announce"] = bool(made["response_trailers"]) and self.maybe(0.5)
        return Exchange(self.number, **made)  # type: ignore[arg-type]

    def maybe(self, chance: float) -> bool:
        return self.random.random() < chance

    def status(self) -> int:
        return self.random.choice(STATUSES + BODILESS)

    def path(self) -> str:
        return self.random.choice(PATHS) + (f"?{'q' * self.random.randint(1, 2000)}" if self.maybe(0.1) else "")

    def sizes(self) -> tuple[int, ...]:
        sizes = self.random.choices(SIZES, k=self.random.choice((0, 1, 1, 2, 5)))
        if self.maybe(0.15):
            sizes.append(self.random.choice(LARGE))
        return tuple(sizes)

    def fields(self) -> tuple[Field, ...]:
        count = self.random.choice((0, 1, 3, 8, 40))
        fields = tuple((self.random.choice(NAMES), self.random.choice(VALUES)) for _ in range(count))
        return (*fields, ("x-long", LONG)) if self.maybe(0.05) else fields

    def cookies(self) -> tuple[Field, ...]:
        return tuple(("cookie", f"c{index}=v{index}") for index in range(self.random.choice((0, 0, 1, 3))))

    def set_cookies(self) -> tuple[Field, ...]:
        return tuple(("set-cookie", f"c{index}=v; Path=/") for index in range(self.random.choice((0, 0, 1, 3))))

    def singles(self) -> tuple[Field, ...]:
        return tuple(self.random.sample(SINGLE, k=self.random.choice((0, 0, 1, 4))))

    def trailers(self) -> tuple[Field, ...]:
        count = self.random.choice((1, 2, 5))
        return tuple((self.random.choice(TRAILER_NAMES), self.random.choice(VALUES)) for _ in range(count))
