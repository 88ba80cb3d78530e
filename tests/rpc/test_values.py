"""Any value goes through a call as it is, or is refused with an error where it was made."""

from __future__ import annotations

import enum
import logging
import math
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict
from unittest.mock import patch
from uuid import UUID

import msgspec
import pytest
import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from muxpy import rpc
from muxpy.rpc._wire import JSON, MSGPACK, Kind, Messages, StreamType, pack
from tests.helpers.pairs import session_pair
from tests.helpers.tasks import bounded

from .by_hand import call_body, open_by_hand, served

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Tree:
    """With others of its kind."""

    name: str
    weight: float | None = None
    data: bytes = b""
    children: list[Tree] = field(default_factory=list)


class Circle(msgspec.Struct, tag="circle"):
    radius: float


class Square(msgspec.Struct, tag="square", array_like=False):
    side: int
    label: str | None = None


class Row(msgspec.Struct, array_like=True):
    number: int
    shapes: list[Circle | Square] = []


class Pair(NamedTuple):
    left: int
    right: str


class Options(TypedDict):
    verbose: bool
    levels: dict[str, int]


class Picky(msgspec.Struct):
    """Its own code says no, in a way that msgspec does not know."""

    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise KeyError("odd")


KINDS: dict[str, Any] = {
    "none": None,
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "bytes": bytes,
    "optional": int | None,
    "union": int | str | list[int] | dict[str, float] | None,
    "tree": Tree,
    "shapes": list[Circle | Square | None],
    "row": Row,
    "pair": Pair,
    "options": Options,
    "colour": Colour,
    "literal": Literal["a", "b", 3],
    "tuples": tuple[int, str, bytes],
    "many": tuple[Decimal, ...],
    "sets": dict[int, frozenset[str]],
    "times": list[datetime | None],
    "days": dict[str, date],
    "spans": timedelta,
    "ids": set[UUID],
    "picky": Picky,
    "bounded": msgspec.defstruct("Bounded", [("x", int)], forbid_unknown_fields=True),
    "anything": Any,
}


@pytest.fixture(autouse=True, scope="module")
def unlogged() -> Iterator[None]:
    """Handlers fail by the hundred, with words that a report of the tests cannot hold."""
    log = logging.getLogger("muxpy.rpc")
    level = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(level)


def echo_of(kind: Any) -> Callable[..., Awaitable[object]]:  # noqa: ANN401 - any type
    async def echo(self: Echo, value: object) -> object:
        self.seen += 1
        return value

    echo.__annotations__ = {"value": kind, "return": kind}
    return echo


def each_of(kind: Any) -> Callable[..., AsyncIterator[object]]:  # noqa: ANN401 - any type
    async def each(self: Echo, values: AsyncIterable[object]) -> AsyncIterator[object]:
        async for value in values:
            self.seen += 1
            yield value

    each.__annotations__ = {"values": AsyncIterable[kind], "return": AsyncIterator[kind]}
    return each


def give_of(kind: Any) -> Callable[..., Awaitable[object]]:  # noqa: ANN401 - any type
    async def give(self: Echo) -> object:
        self.seen += 1
        return self.value

    give.__annotations__ = {"return": kind}
    return give


class Echo:
    """Has methods for each type that take it and give it back, and one that gives whatever the test says."""

    def __init__(self) -> None:
        self.seen = 0
        self.value: object = None


for _name, _kind in KINDS.items():
    setattr(Echo, f"echo_{_name}", echo_of(_kind))
    setattr(Echo, f"each_{_name}", each_of(_kind))
    setattr(Echo, f"give_{_name}", give_of(_kind))

texts = st.text(max_size=20) | st.text(st.characters(categories=["Cs", "Lu"]), max_size=3)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts, st.binary(max_size=20))
builtins = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.tuples(inner, inner), st.dictionaries(texts | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)
shapes = st.builds(Circle, st.floats()) | st.builds(Square, st.integers(), st.none() | texts)
trees = st.recursive(
    st.builds(Tree, texts, st.none() | st.floats(), st.binary(max_size=30)),
    lambda inner: st.builds(Tree, texts, st.none(), st.just(b"x"), st.lists(inner, max_size=4)),
    max_leaves=8,
)
of_types = st.one_of(
    trees,
    st.lists(shapes | st.none(), max_size=4),
    st.builds(Row, st.integers(), st.lists(shapes, max_size=3)),
    st.builds(Pair, st.integers(), texts),
    st.fixed_dictionaries({"verbose": st.booleans(), "levels": st.dictionaries(texts, st.integers(), max_size=3)}),
    st.sampled_from([*Colour, "a", "b", 3, "red", object(), int]),
    st.tuples(st.integers(), texts, st.binary(max_size=9)),
    st.lists(st.decimals(), max_size=3).map(tuple),
    st.dictionaries(st.integers(), st.frozensets(texts, max_size=3), max_size=3),
    st.lists(st.datetimes() | st.none(), max_size=3),
    st.dictionaries(texts, st.dates(), max_size=3),
    st.timedeltas(),
    st.sets(st.uuids(), max_size=3),
    st.builds(Picky, st.integers().map(lambda number: 2 * number)),
    st.sampled_from([msgspec.Raw(b"\xc1"), msgspec.Raw(b""), {"number": 3}, {"x": 1, "y": 2}, math.nan, -math.inf]),
)
values = builtins | of_types


def deep(depth: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(depth):
        nested = [nested]
    return nested


def normal(kind: Any, value: object, *, in_json: bool) -> object:  # noqa: ANN401 - any type
    """The value as the other side gets it. Raises an exception if it is refused."""
    coding = JSON if in_json else MSGPACK
    return coding.decoder(kind)(coding.encode(value))


def alike(one: object, other: object) -> bool:
    """Also for NaN, and values with NaN in them."""
    return type(one) is type(other) and (repr(one) == repr(other) or one == other)


def refused(kind: Any, value: object, *, in_json: bool) -> bool:  # noqa: ANN401 - any type
    try:
        normal(kind, value, in_json=in_json)
    except Exception:
        return True
    return False


async def through(name: str, value: object, *, in_json: bool) -> None:
    """One value through a call of each shape."""
    kind = KINDS[name]
    no = refused(kind, value, in_json=in_json)
    expected = None if no else normal(kind, normal(kind, value, in_json=in_json), in_json=in_json)
    service = Echo()

    async def one_value() -> AsyncIterator[object]:
        yield value

    async with session_pair("memory") as (session, server), trio.open_nursery() as nursery:
        nursery.start_soon(partial(rpc.serve, server, [service]))
        client: Any = rpc.client(session, Echo, json=in_json)
        echo, each, give = (getattr(client, f"{shape}_{name}") for shape in ("echo", "each", "give"))
        if no:
            with pytest.raises(TypeError):
                await echo(value)
            with pytest.raises(TypeError):
                [_ async for _ in each(one_value())]
            assert service.seen == 0
        else:
            assert alike(await echo(value), expected)
            assert [alike(got, expected) for got in [got async for got in each(one_value())]] == [True]
            assert service.seen == 2
        service.value = value
        if no:
            with pytest.raises(rpc.Error) as error:
                await give()
            assert (error.value.code, error.value.name) == (rpc.Code.INTERNAL, "TypeError")
        else:
            assert alike(await give(), normal(kind, value, in_json=in_json))
        nursery.cancel_scope.cancel()


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(KINDS)), values, st.booleans())
@example("anything", deep(100), False)
@example("union", 1 << 64, False)
@example("union", -(1 << 63) - 1, False)
@example("float", math.nan, True)
@example("str", "\ud800", False)
@example("str", "\ud800", True)
@example("picky", {"number": 3}, False)
@example("bytes", bytearray(b"x"), True)
@example("anything", {(1, 2): 3}, False)
@example("anything", bytes(5000), False)
@example("tree", Tree("x", 1.0, bytes(100_000), [Tree("y")]), True)
def test_a_value_goes_through_or_is_refused(name: str, value: object, in_json: bool) -> None:
    trio.run(partial(through, name, value, in_json=in_json))


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_value_of_the_type_comes_back(data: st.DataObject) -> None:
    """Those that msgpack can carry."""
    name = data.draw(st.sampled_from(sorted(set(KINDS) - {"picky", "bounded", "anything", "none"})))
    value = data.draw(st.from_type(KINDS[name]))
    if refused(KINDS[name], value, in_json=False):
        return

    async def main() -> None:
        async with session_pair("memory") as (session, server), trio.open_nursery() as nursery:
            nursery.start_soon(partial(rpc.serve, server, [Echo()]))
            client: Any = rpc.client(session, Echo)
            got = await getattr(client, f"echo_{name}")(value)
            assert repr(got) == repr(value) or got == value
            nursery.cancel_scope.cancel()

    trio.run(main)


@pytest.mark.parametrize("in_json", [False, True], ids=["msgpack", "json"])
@bounded()
async def test_values_that_are_nested_too_deeply_are_refused(in_json: bool) -> None:
    await through("anything", deep(5000), in_json=in_json)


# ---- errors ----


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(texts, values, st.integers(), st.booleans(), st.booleans())
@example("\ud800", None, 5, False, True)
@example("x" * 5_000_000, None, 5, False, False)
@example("x", bytes(5_000_000), 5, False, True)
@example("x", None, 1 << 64, False, False)
def test_an_error_goes_through_or_is_one_that_says_so(
    message: str, details: object, code: int, in_json: bool, tracebacks: bool
) -> None:
    # The log of a test is a part of its report, which must be encodable; these messages need not be.
    with patch.object(logging.getLogger("muxpy.rpc"), "disabled", True):
        trio.run(partial(failing, message, details, code, in_json=in_json, tracebacks=tracebacks))


@pytest.mark.parametrize("in_json", [False, True], ids=["msgpack", "json"])
@bounded()
async def test_details_that_are_nested_too_deeply_are_an_error(in_json: bool) -> None:
    await failing("x", deep(5000), 5, in_json=in_json, tracebacks=True)


async def failing(message: str, details: object, code: int, *, in_json: bool, tracebacks: bool) -> None:
    """Whatever a handler raises, its caller gets one error, and the session goes on."""

    class Fails:
        async def fail(self) -> int:
            raise rpc.Error(message, details=details, code=code)

        async def bug(self) -> int:
            raise ValueError(message)

    async with session_pair("memory") as (session, server), trio.open_nursery() as nursery:
        nursery.start_soon(partial(rpc.serve, server, [Fails()], tracebacks=tracebacks))
        client = rpc.client(session, Fails, json=in_json)
        with pytest.raises(rpc.Error) as failed:
            await client.fail()
        error = failed.value
        if error.code == code and error.name == "Error":
            assert error.message == message
            assert alike(error.details, normal(Any, details, in_json=in_json))
        else:
            assert (error.code, error.name) == (rpc.Code.INTERNAL, "TypeError")
        with pytest.raises(rpc.Error) as bug:
            await client.bug()
        assert (bug.value.code, bug.value.name) == (rpc.Code.INTERNAL, "ValueError")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "metadata", [{"a": "\ud800"}, {"a": object()}, {"a": 5}, {5: "a"}], ids=["surrogate", "object", "int", "int-key"]
)
@bounded()
async def test_metadata_that_is_no_text_is_refused(metadata: dict[str, str]) -> None:
    service = Echo()
    async with session_pair("memory") as (session, server), trio.open_nursery() as nursery:
        nursery.start_soon(partial(rpc.serve, server, [service]))
        client: Any = rpc.client(session, Echo, metadata=metadata)
        with pytest.raises(TypeError):
            await client.echo_int(5)
        assert service.seen == 0
        nursery.cancel_scope.cancel()


@bounded()
async def test_what_is_too_large_is_an_error_where_it_was_made() -> None:
    service = Echo()
    async with session_pair("memory") as (session, server), trio.open_nursery() as nursery:
        nursery.start_soon(partial(rpc.serve, server, [service]))
        client: Any = rpc.client(session, Echo)
        with pytest.raises(rpc.Error, match="more than 4194304 take") as error:
            await client.echo_bytes(bytes(5_000_000))
        assert error.value.code == rpc.Code.RESOURCE_EXHAUSTED
        assert service.seen == 0
        service.value = bytes(5_000_000)
        with pytest.raises(rpc.Error, match="the result has 5000005 bytes"):
            await client.give_bytes()
        assert len(await client.echo_bytes(bytes(4_000_000))) == 4_000_000
        nursery.cancel_scope.cancel()


# ---- cuts ----

messages = st.lists(
    st.tuples(st.integers(0, 255), st.integers(0, 0xFFFFFFFF), st.binary(max_size=60) | st.just(bytes(700))), max_size=8
)


@given(messages, st.lists(st.integers(0, 5000), max_size=10))
def test_messages_come_whole_out_of_any_pieces(sent: list[tuple[int, int, bytes]], cuts: list[int]) -> None:
    whole = b"".join(pack(*message) for message in sent)
    ends = sorted({min(cut, len(whole)) for cut in cuts} | {0, len(whole)})
    cutter = Messages(700)
    got = [found for begin, end in pairwise(ends) for found in cutter.feed(whole[begin:end])]
    assert got == sent
    assert cutter.unfinished == 0


@pytest.mark.parametrize("stream_type", [StreamType.SHARED, StreamType.CALL], ids=["shared", "alone"])
@bounded()
async def test_a_call_byte_by_byte(stream_type: StreamType) -> None:
    async with served(Echo()) as session:
        hand = await open_by_hand(session, stream_type)
        for byte in pack(Kind.CALL, 0, call_body("Echo.echo_str", "word")):
            await hand.stream.send_all(bytes([byte]))
            await trio.testing.wait_all_tasks_blocked()
        assert await hand.answer() == (Kind.RESULT, 0, msgspec.msgpack.encode("word"))
        hand.stream.reset()


@bounded()
async def test_types_that_cannot_be_sent_are_no_service() -> None:
    class Mixed(enum.Enum):
        RED = "red"
        BLUE = 2

    class Strange:
        async def strange(self, value: int) -> None: ...

    Strange.strange.__annotations__ = {"value": Mixed, "return": None}
    async with session_pair("memory") as (_, server):
        with pytest.raises(TypeError, match="not supported"):
            await rpc.serve(server, [Strange()])
