"""Clients of Redis and PostgreSQL, with the real servers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg
import pytest
import redis
import sqlalchemy
import trio

from tests.cli.real._databases import postgres_server, redis_server
from tests.helpers.tasks import bounded

from .ends import DIGEST, IMAGE, forwarded
from .page import run, shows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.real._databases import Database

pytestmark = pytest.mark.no_cover


@shows("redis")
@bounded()
async def test_redis(tmp_path: Path) -> None:
    here = str(tmp_path / "here")
    with redis_server() as database:
        for place in (database.port, database.path):
            async with forwarded(place) as session:
                names = await run("redis", session=session, trio=trio, redis=redis, path=here, image=IMAGE)
                assert names["answer"] == IMAGE


@pytest.fixture(scope="module")
def postgres() -> Iterator[Database]:
    with postgres_server() as database:
        yield database


async def run_with_user(heading: str, database: Database, **names: Any) -> None:  # noqa: ANN401
    instead: dict[str, object] = {"//me@": "//tester@"} if heading == "SQLAlchemy" else {'"me"': '"tester"'}
    async with forwarded(database.path) as session:
        done = await run(heading, 0, instead, session=session, trio=trio, image=IMAGE, **names)
        assert done["answer"] == DIGEST


@shows("psycopg")
@bounded()
async def test_psycopg(postgres: Database) -> None:
    await run_with_user("psycopg", postgres, psycopg=psycopg)


@shows("asyncpg")
@bounded()
async def test_asyncpg(postgres: Database) -> None:
    await run_with_user("asyncpg", postgres, asyncio=asyncio, asyncpg=asyncpg)


@shows("SQLAlchemy")
@bounded()
async def test_sqlalchemy(postgres: Database) -> None:
    await run_with_user("SQLAlchemy", postgres, sqlalchemy=sqlalchemy)
