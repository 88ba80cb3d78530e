"""Reflection: what a side serves is told as it is, to nobody who was not meant to know."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator  # noqa: TC003 - the hints are read
from typing import Literal, Union

import msgspec
import pytest

import muxpy
from muxpy import rpc
from tests.helpers.tasks import bounded

from .offered import offered


class Point(msgspec.Struct):
    """Where something is."""

    x: float
    y: float = 0


@rpc.service
class Atlas:
    """Maps.

    And what is on them."""

    @rpc.idempotent
    async def find(self, name: str, /, near: Point | None = None, *, most: int = 5) -> list[Point]:
        """All places of this name."""
        raise NotImplementedError

    def walk(self, start: Point, steps: AsyncIterable[Point]) -> AsyncIterator[float]:
        raise NotImplementedError

    async def draw(self, paper: muxpy.Stream, colour: Literal["a.b"] = "a.b") -> muxpy.Stream:
        raise NotImplementedError

    async def strange(self, value: complex) -> None:
        raise NotImplementedError


class MyAtlas(Atlas):
    pass


class Plain:
    async def ping(self, word: "str") -> None: ...  # noqa: UP037 - a hint that is a text where others are none


# As in a program whose hints are no texts.
Plain.ping.__annotations__ |= {"word": Union[Literal["x.y", 'a"b.c'], Point, None]}  # noqa: UP007


async def told(*services: object) -> dict[str, rpc.ServiceInfo]:
    async with offered(*services, reflection=True) as (caller, _, _):
        found = await rpc.client(caller, rpc.Reflection).services()
    return {service.name: service for service in found}


@bounded()
async def test_services_and_methods() -> None:
    services = await told(MyAtlas(), rpc.HealthService())
    assert list(services) == ["Atlas", "Health", "Reflection"]
    atlas = services["Atlas"]
    assert atlas.doc == "Maps.\n\nAnd what is on them."
    draw, find, strange, walk = atlas.methods
    assert find.doc == "All places of this name."
    assert [method.signature for method in atlas.methods] == [
        "draw(paper: muxpy.Stream, colour: Literal['a.b'] = 'a.b') -> muxpy.Stream",
        "find(name: str, /, near: Point | None = None, *, most: int = 5) -> list[Point]",
        "strange(value: complex) -> None",
        "walk(start: Point, steps: AsyncIterable[Point]) -> AsyncIterator[float]",
    ]
    assert [(method.takes_items, method.gives_items) for method in (find, walk)] == [(None, False), ("steps", True)]
    assert (draw.takes_streams, draw.gives_stream, find.takes_streams, find.gives_stream) == (
        ["paper"],
        True,
        [],
        False,
    )
    assert (find.idempotent, walk.idempotent) == (True, False)
    assert strange.name == "Atlas.strange"


@bounded()
async def test_hints_that_are_no_texts_are_shown_without_modules() -> None:
    (ping,) = (await told(Plain()))["Plain"].methods
    assert ping.signature == "ping(word: Union[Literal['x.y', 'a\"b.c'], Point, NoneType]) -> None"


@bounded()
async def test_schemas() -> None:
    draw, find, strange, walk = (await told(MyAtlas()))["Atlas"].methods
    point = {
        "title": "Point",
        "description": "Where something is.",
        "type": "object",
        "properties": {"x": {"type": "number"}, "y": {"type": "number", "default": 0.0}},
        "required": ["x"],
    }
    arguments = find.arguments["$defs"]["Arguments"]
    assert find.arguments["$ref"] == "#/$defs/Arguments"
    assert find.arguments["$defs"]["Point"] == point
    assert (list(arguments["properties"]), arguments["required"]) == (["name", "near", "most"], ["name"])
    assert find.result == {"type": "array", "items": {"$ref": "#/$defs/Point"}, "$defs": {"Point": point}}
    assert find.items is None
    assert list(walk.arguments["$defs"]["Arguments"]["properties"]) == ["start"]
    assert walk.items == {"$ref": "#/$defs/Point", "$defs": {"Point": point}}
    assert walk.result == {"type": "number"}
    assert strange.arguments["$defs"]["Arguments"]["properties"] == {"value": {"description": "complex"}}
    assert draw.result["type"] == "integer"


@bounded()
async def test_it_is_not_there_unless_it_was_asked_for() -> None:
    async with offered(MyAtlas()) as (caller, _, _):
        with pytest.raises(rpc.Unimplemented):
            await rpc.client(caller, rpc.Reflection).services()
