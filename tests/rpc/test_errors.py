"""What callers get when a call fails, and what stays at home."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from muxpy import rpc
from muxpy.rpc import _errors
from tests.helpers.pairs import session_pair
from tests.helpers.tasks import bounded

from .services import Bench, Overdrawn, Point, Refused, Worker, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SECRET = "the secret of the house"
WRONG: Any = "x"


@pytest.fixture(params=[0, 1], ids=["shared", "alone"])
def priority(request: pytest.FixtureRequest) -> int:
    """Whether calls go on the shared stream."""
    return int(request.param)


@bounded()
async def test_an_error_of_the_service_keeps_its_class_and_details(priority: int) -> None:
    async with served() as (_, _, here, _):
        bench = rpc.client(here, Bench, priority=priority)
        for how in ("overdrawn", "group"):
            with pytest.raises(Overdrawn, match="there are only 5 left") as raised:
                await bench.fail(how)
            assert raised.value.details == Point(5)
            assert raised.value.code is rpc.Code.FAILED_PRECONDITION
            assert not raised.value.retryable
        with pytest.raises(Refused) as bare:
            await bench.fail("refused")
        assert bare.value.details is None
        assert str(bare.value) == "PERMISSION_DENIED"


@bounded()
async def test_a_class_that_the_caller_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served() as (bench, _, _, _):
        monkeypatch.delitem(_errors._classes, "Overdrawn")  # as in a program that does not import it
        with pytest.raises(rpc.Error) as raised:
            await bench.fail("overdrawn")
    assert type(raised.value) is rpc.Error
    assert raised.value.name == "Overdrawn"
    assert raised.value.code == rpc.Code.FAILED_PRECONDITION
    assert raised.value.details == {"x": 5, "y": 0}
    assert str(raised.value) == "Overdrawn: there are only 5 left"


@bounded()
async def test_a_bug_stays_at_home(priority: int, caplog: pytest.LogCaptureFixture) -> None:
    async with served() as (_, _, here, _):
        with caplog.at_level(logging.ERROR, "muxpy.rpc"), pytest.raises(rpc.Error) as raised:
            await rpc.client(here, Bench, priority=priority).fail("bug")
    assert raised.value.code == rpc.Code.INTERNAL
    assert raised.value.name == "ValueError"
    assert SECRET not in f"{raised.value} {raised.value.details}"
    assert SECRET in caplog.text


@bounded()
async def test_tracebacks_are_sent_if_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    async with served(tracebacks=True) as (bench, _, _, _):
        with pytest.raises(rpc.Error, match=f"ValueError: {SECRET}") as raised:
            await bench.fail("bug")
    assert "in fail" in str(raised.value.details)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda bench: bench.add("1"), "wrong argument: Expected `int`, got `str` - at `a`"),
        (lambda bench: bench.add(1, b=None), "wrong argument: Expected `int`, got `None` - at `b`"),
        (lambda bench: bench.turn(Point(WRONG)), "wrong argument: Expected `int`, got `str` - at `point.x`"),
        (lambda bench: bench.echo("text"), "wrong argument: Expected `bytes`, got `str` - at `data`"),
        (lambda bench: bench.add(object()), "the argument cannot be sent: Encoding objects of type object"),
        (lambda bench: bench.add(2**64), "the argument cannot be sent: "),
        (lambda bench: bench.add(), "missing a required argument: 'a'"),
        (lambda bench: bench.add(1, 2, 3), "too many positional arguments"),
        (lambda bench: bench.add(1, c=3), "unexpected keyword argument 'c'"),
        (lambda bench: bench.total(5), "5 is not an async iterator"),
        (lambda bench: bench.store("a", "no stream"), "'no stream' is not a stream that rpc.stream has opened"),
    ],
    ids=range(11),
)
@bounded()
async def test_a_wrong_argument_is_an_error_before_anything_is_sent(
    wrong: Callable[[Bench], object], message: str
) -> None:
    async with served() as (bench, _, here, _):
        await bench.add(1)
        before = here.statistics()
        with pytest.raises(TypeError, match=message.replace("(", r"\(")):
            await wrong(bench)  # type: ignore[misc]
        after = here.statistics()
        assert (after.frames_sent, after.streams_opened) == (before.frames_sent, before.streams_opened)


@bounded()
async def test_a_wrong_result_is_an_error_of_the_service(priority: int, caplog: pytest.LogCaptureFixture) -> None:
    async with served() as (_, _, here, _):
        with pytest.raises(rpc.Error) as raised:
            await rpc.client(here, Bench, priority=priority).wrong()
        with pytest.raises(rpc.Error) as details:
            await rpc.client(here, Bench, priority=priority).fail("wrong details")
    assert raised.value.code == details.value.code == rpc.Code.INTERNAL
    assert "Bench.wrong: wrong result: Expected `int`, got `str`" in caplog.text
    assert "Overdrawn cannot be sent: Expected" in caplog.text


@bounded()
async def test_arguments_that_do_not_fit_the_handler(priority: int) -> None:
    """The two sides have different opinions of a method."""

    class Bench:
        async def add(self, a: str) -> int:
            return 0

        async def nothing(self) -> int:
            return 0

    async with served() as (_, _, here, _):
        bench = rpc.client(here, Bench, priority=priority)
        with pytest.raises(rpc.InvalidArgument, match=r"Bench\.add: Expected `int`, got `str` - at `a`"):
            await bench.add("one")
        with pytest.raises(rpc.Error, match=r"Bench\.nothing has returned something else") as raised:
            await bench.nothing()
    assert raised.value.code == rpc.Code.INTERNAL


@bounded()
async def test_a_handler_that_is_too_slow_for_itself(priority: int) -> None:
    async with served() as (_, _, here, _):
        with pytest.raises(rpc.DeadlineExceeded) as raised:
            await rpc.client(here, Bench, priority=priority).fail("late")
        assert isinstance(raised.value, trio.TooSlowError)


def test_two_errors_of_one_name() -> None:
    with pytest.raises(TypeError, match=r"tests\.rpc\.services has an error named 'Overdrawn' already"):

        class Overdrawn(rpc.Error):
            pass


def test_an_error_says_what_it_is() -> None:
    assert str(rpc.Error("all gone", code=rpc.Code.NOT_FOUND)) == "all gone"
    assert str(rpc.Error(code=rpc.Code.NOT_FOUND)) == "NOT_FOUND"
    assert str(rpc.Unavailable()) == "UNAVAILABLE"
    assert str(Overdrawn("5 left")) == "5 left"


@bounded()
async def test_an_interceptor_stands_around_each_call() -> None:
    said: list[str] = []

    @asynccontextmanager
    async def note(call: rpc.Call) -> AsyncIterator[None]:
        said.append(f"begin {call.method} {call.metadata.get('user')}")
        try:
            yield
        except Exception as error:
            said.append(f"{type(error).__name__}")
            raise
        said.append("end")

    @asynccontextmanager
    async def only_alice(call: rpc.Call) -> AsyncIterator[None]:
        if call.metadata.get("user") != "alice":
            raise Refused("alice only")
        yield

    @asynccontextmanager
    async def as_alice(call: rpc.Call) -> AsyncIterator[None]:
        call.metadata["user"] = "alice"
        yield

    async with served(interceptors=[note, only_alice]) as (bench, _, here, _):
        with pytest.raises(Refused, match="alice only"):
            await bench.add(1)
        alice = rpc.client(here, Bench, interceptors=[as_alice])
        assert await alice.add(1) == 2
        assert [number async for number in alice.count(3)] == [0, 1, 2]
        with pytest.raises(Refused):
            [number async for number in bench.count(3)]
        with pytest.raises(Overdrawn):
            await alice.fail("overdrawn")
    assert said == [
        "begin Bench.add None",
        "Refused",
        "begin Bench.add alice",
        "end",
        "begin Bench.count alice",
        "end",
        "begin Bench.count None",
        "Refused",
        "begin Bench.fail alice",
        "Overdrawn",
    ]


@bounded()
async def test_two_services_of_one_name() -> None:
    class Bench:
        async def add(self, a: int) -> int:
            return a

    async with session_pair() as (_, there):
        with pytest.raises(ValueError, match="two services are named 'Bench'"):
            await rpc.serve(there, [Bench(), Bench()])


@bounded()
async def test_what_a_handler_calls_in_vain_is_a_fault_of_the_handler(caplog: pytest.LogCaptureFixture) -> None:
    """Its caller has not asked for anything that is not there."""
    async with served() as (bench, _, _, _):
        with pytest.raises(rpc.Error) as raised:
            await bench.back(1)  # this side serves nothing
    assert raised.value.code == rpc.Code.INTERNAL
    assert "there is no service 'Bench'; there are none" in caplog.text


def test_details_that_are_declared_where_nobody_looks() -> None:
    with pytest.raises(TypeError, match=r"class Annotated\(rpc\.Error, details=\.\.\.\)"):

        class Annotated(rpc.Error):
            details: int


async def test_a_class_where_an_object_belongs_and_the_other_way_round() -> None:
    async with session_pair() as (here, there):
        with pytest.raises(TypeError, match=r"an object is served, not a class: Worker\(\), perhaps"):
            await rpc.serve(there, [Worker])
        with pytest.raises(TypeError, match="a service is a class, not "):
            rpc.client(here, Worker())  # type: ignore[arg-type]
