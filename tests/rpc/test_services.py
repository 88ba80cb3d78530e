"""What makes a class a service, and what is said of one that cannot be."""

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any, Protocol

import pytest
import trio

from muxpy import rpc
from muxpy.rpc._service import describe, services_of

from .services import Bench, Worker


def test_the_methods_of_a_service() -> None:
    service = describe(Bench)
    assert service.name == "Bench"
    assert service.doc == "What tests call."
    assert {name for name, method in service.methods.items() if method.gives_items} == {"count", "double"}
    assert {name for name, method in service.methods.items() if method.takes_items is not None} == {"total", "double"}
    assert {name for name, method in service.methods.items() if method.idempotent} == {"again"}
    assert service.methods["add"].name == "Bench.add"


def test_an_object_implements_the_bases_that_are_marked() -> None:
    @rpc.service
    class Other(Protocol):
        async def other(self) -> None: ...

    class Both(Worker, Other):
        async def other(self) -> None: ...

        async def own(self) -> None: ...

    class Plain:
        async def own(self) -> None: ...

        def _private(self) -> None: ...

    assert {service.name for service in services_of(Both())} == {"Bench", "Other"}
    [plain] = services_of(Plain())
    assert (plain.name, set(plain.methods)) == ("Plain", {"own"})


class Empty:
    pass


class NoHint:
    async def ask(self, a) -> int:  # type: ignore[no-untyped-def] # noqa: ANN001
        return int(a)


class NoResult:
    async def ask(self, a: int):  # type: ignore[no-untyped-def] # noqa: ANN201
        return a


class Unknown:
    async def ask(self, a: "Nowhere") -> int:  # type: ignore[name-defined] # noqa: F821
        return 1


class Plain:
    def ask(self) -> int:
        return 1


class Awaited:
    async def ask(self) -> AsyncIterator[int]:
        raise NotImplementedError


class Many:
    async def ask(self, *numbers: int) -> int:
        return 1


class Named:
    async def ask(self, **numbers: int) -> int:
        return 1


class Two:
    async def ask(self, one: AsyncIterator[int], two: AsyncIterable[int]) -> int:
        return 1


class Strange:
    async def ask(self, a: trio.Event) -> int:
        return 1


class Either:
    async def ask(self, a: list[int] | set[int]) -> int:
        return 1


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (Empty, "Empty has no public methods"),
        (NoHint, r"NoHint\.ask: 'a' has no type hint"),
        (NoResult, r"NoResult\.ask: its result has no type hint"),
        (Unknown, r"Unknown\.ask: name 'Nowhere' is not defined .* import it outside of TYPE_CHECKING"),
        (Plain, r"Plain\.ask: it is neither async, nor does it give an AsyncIterator"),
        (Awaited, r"Awaited\.ask: a method without a body that gives an iterator is a `def`, not an `async def`"),
        (Many, r"Many\.ask: a method that is called from elsewhere has no \*numbers"),
        (Named, r"Named\.ask: a method that is called from elsewhere has no \*\*numbers"),
        (Two, r"Two\.ask: only one parameter can be an iterator"),
        (Strange, r"Strange\.ask: "),
        (Either, r"Either\.ask: Type unions may not contain more than one array-like"),
        (5, "a service is a class, not 5"),
    ],
)
def test_what_cannot_be_called_from_elsewhere(cls: Any, said: str) -> None:  # noqa: ANN401
    with pytest.raises(TypeError, match=said):
        rpc.service(cls)


def test_the_docs_of_a_service_are_its_own() -> None:
    class Plain(Protocol):
        async def own(self) -> None: ...

    assert describe(Plain).doc == ""
