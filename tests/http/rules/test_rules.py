"""The table of docs/http2.md, row by row, over real connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from muxpy.http import ErrorCode
from tests.helpers.tasks import bounded

from . import of_blocks, of_connections, of_messages, of_streams  # noqa: F401 - they have the cases
from .peer import Seen
from .rows import CASES, NOTHING, ROWS, Row
from .scene import Scene, client_scene, server_scene

if TYPE_CHECKING:
    from .rows import Case

KINDS = pytest.mark.parametrize("kind", ["tcp", "pieces", "tls"])


def test_each_row_has_a_case_and_each_case_a_row() -> None:
    assert len(ROWS) > 250
    names = [row.id for row in ROWS]
    assert sorted(names) == sorted(set(names))
    assert sorted(names) == sorted(CASES)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_each_answer_is_one_that_can_be_checked(row: Row) -> None:
    for answer in (row.server, row.client):
        what, _, code = answer.partition(" ")
        assert what in ("GOAWAY", "RST", "ignored", "taken", "431", NOTHING)
        assert (what in ("GOAWAY", "RST")) == (code in ErrorCode.__members__)


@pytest.mark.parametrize("row", [row for row in ROWS if row.server != NOTHING], ids=lambda row: row.id)
@KINDS
@bounded()
async def test_server(row: Row, kind: str) -> None:
    case = CASES[row.id]
    async with server_scene(kind, case.config) as scene:
        await follow(case, row.server, scene)


@pytest.mark.parametrize("row", [row for row in ROWS if row.client != NOTHING], ids=lambda row: row.id)
@KINDS
@bounded()
async def test_client(row: Row, kind: str) -> None:
    case = CASES[row.id]
    async with client_scene(kind, case.config) as scene:
        await follow(case, row.client, scene)


async def follow(case: Case, answer: str, scene: Scene) -> None:
    """Do what the row says, and see what comes of it: exactly what the page says, and nothing else."""
    if not case.bare:
        await scene.begin()
    stream_id = await case.run(scene)
    peer = scene.peer
    what, _, code = answer.partition(" ")
    if what == "GOAWAY":
        await peer.ended()
        if case.bare and not scene.client:
            peer.seen[:] = [seen for seen in peer.seen if seen.name != "SETTINGS"]
        assert peer.seen == [Seen("GOAWAY", scene.highest, code)]
        return
    await scene.settle()
    assert peer.seen == ([Seen("RST", stream_id or 0, code)] if what == "RST" else [])
    assert not peer.over
