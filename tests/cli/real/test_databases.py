"""Redis and PostgreSQL with their own clients and load generators, over TCP and over Unix sockets."""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING

import pytest

from ._databases import Database, postgres_server, redis_server
from ._programs import HOST, run
from ._tunnel import tunnel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VALUE = os.urandom(1_000_000).hex()


# ---- Redis ----


@pytest.fixture(scope="module")
def redis() -> Iterator[Database]:
    with redis_server() as database:
        yield database


async def assert_redis_works(place: tuple[str, ...]) -> None:
    """Store a big value, and read it back in another connection; `place` are the client's options."""
    key = os.urandom(8).hex()
    assert (await run("redis-cli", *place, "-x", "set", key, stdin=VALUE.encode())).out == "OK\n"
    assert (await run("redis-cli", *place, "get", key)).out == VALUE + "\n"
    pipe = "".join(f"INCR {key}:count\r\n" for _ in range(1000))
    assert "errors: 0, replies: 1000" in (await run("redis-cli", *place, "--pipe", stdin=pipe.encode())).out
    assert (await run("redis-cli", *place, "get", f"{key}:count")).out == "1000\n"


async def assert_redis_bears_load(redis: Database, place: tuple[str, ...]) -> None:
    """redis-benchmark's requests, by the server's own count."""
    direct = ("redis-cli", "-s", str(redis.path))
    await run(*direct, "config", "resetstat")
    load = ("-n", "3000", "-c", "30", "-d", "100", "-t", "set,get,lpush", "--csv")
    done = await run("redis-benchmark", *place, *load)
    assert len(re.findall(r'^"(SET|GET|LPUSH)","[\d.]+"', done.out, re.MULTILINE)) == 3
    statistics = (await run(*direct, "info", "commandstats")).out
    for command in ("set", "get", "lpush"):
        assert f"cmdstat_{command}:calls=3000," in statistics


async def test_redis_over_tcp(redis: Database) -> None:
    async with tunnel("-L", f"0:{redis.target}", "-R", f"0:{redis.target}") as ends:
        for port in ends.ports:
            await assert_redis_works(("-h", HOST, "-p", str(port)))
            await assert_redis_bears_load(redis, ("-h", HOST, "-p", str(port)))


async def test_redis_through_unix_sockets(redis: Database, folder: Path) -> None:
    near, both, remote = (folder / name for name in ("near", "both", "remote"))
    forwards = ("-L", f"{near}:{redis.target}", "-L", f"0:{redis.path}", "-L", f"{both}:{redis.path}")
    rules = ("--allow", f"{HOST}:*", *redis.allow, "--allow-bind", f"unix:{folder}/*")
    async with tunnel(*forwards, "-R", f"{remote}:{redis.path}", listen=rules) as ends:
        for path in (near, both, remote):
            await assert_redis_works(("-s", str(path)))
        await assert_redis_works(("-h", HOST, "-p", str(ends.ports[1])))
        await assert_redis_bears_load(redis, ("-s", str(both)))
        assert (await ends.status())["totals"]["failed"] == 0


async def test_a_unix_socket_must_be_allowed(redis: Database) -> None:
    async with tunnel("-L", f"0:{redis.path}") as ends:
        refused = await run("redis-cli", "-h", HOST, "-p", str(ends.port), "ping", check=False)
        assert "PONG" not in refused.out
        assert refused.code == 1
        assert str(redis.path) in await ends.connecting.line("not in allow")
        # At least: redis-cli connects once more if its request was not yet sent.
        assert (await ends.status(listening=True))["totals"]["refused"] >= 1


# ---- PostgreSQL ----


@pytest.fixture(scope="module")
def postgres() -> Iterator[Database]:
    with postgres_server() as database:
        yield database


TRANSACTIONS = """
create table amounts (id int primary key, amount int);
begin; insert into amounts select n, n % 97 from generate_series(1, 20000) n; commit;
begin; delete from amounts; select 'gone', count(*) from amounts; rollback;
select count(*), sum(amount), md5(string_agg(id || ':' || amount, ',' order by id)) from amounts;
drop table amounts;
"""


async def test_postgresql_transactions(postgres: Database) -> None:
    rows = ",".join(f"{number}:{number % 97}" for number in range(1, 20_001))
    summary = f"20000|{sum(number % 97 for number in range(1, 20_001))}|{hashlib.md5(rows.encode()).hexdigest()}"
    unix = ("--allow", f"{HOST}:*", *postgres.allow)
    forwards = ("-L", f"0:{postgres.target}", "-L", f"0:{postgres.path}", "-R", f"0:{postgres.path}")
    async with tunnel(*forwards, listen=unix) as ends:
        for port in ends.ports:
            psql = ("psql", "-X", "-v", "ON_ERROR_STOP=1", "-h", HOST, "-p", str(port), "-U", "tester")
            done = await run(*psql, "-d", "postgres", "-qAt", stdin=TRANSACTIONS.encode())
            assert done.out.splitlines() == ["gone|0", summary]
        copied = "copy (select repeat('x', 100) || n from generate_series(1, 50000) n) to stdout"
        lines = await run(*psql, "-d", "postgres", "-qAtc", copied)
        assert lines.out == "".join(f"{'x' * 100}{number}\n" for number in range(1, 50_001))
        failed = await run(*psql, "-d", "postgres", "-qAtc", "select 1 / 0", check=False)
        assert failed.code == 1
        assert "division by zero" in failed.err


async def test_pgbench(postgres: Database, folder: Path) -> None:
    socket = folder / ".s.PGSQL.5432"
    async with tunnel("-L", f"0:{postgres.target}", "-L", f"{socket}:{postgres.target}") as ends:
        tcp = ("-h", HOST, "-p", str(ends.port), "-U", "tester")
        await run("pgbench", *tcp, "-i", "-q", "-s", "1", "postgres")
        for place in (tcp, ("-h", str(folder), "-p", "5432", "-U", "tester")):
            done = await run("pgbench", *place, "-c", "8", "-j", "2", "-t", "50", "-n", "postgres")
            assert "number of transactions actually processed: 400/400" in done.out
            assert "number of failed transactions: 0" in done.out
        sums = "select count(*), sum(delta) = (select sum(abalance) from pgbench_accounts) from pgbench_history"
        counted = await run("psql", "-X", *tcp, "-d", "postgres", "-qAtc", sums)
        assert counted.out == "800|t\n"
