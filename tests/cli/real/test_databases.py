"""Redis and PostgreSQL with their own clients and load generators, over TCP and over Unix sockets."""

from __future__ import annotations

import getpass
import hashlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..program import free_port
from ._programs import CLEAN, HOST, find, require, run, serving
from ._tunnel import tunnel

if TYPE_CHECKING:
    from collections.abc import Iterator

VALUE = os.urandom(1_000_000).hex()


@dataclass(frozen=True, slots=True)
class Database:
    """A server that runs, reached at a port of HOST and at a Unix socket."""

    port: int
    path: Path
    user: str = ""

    @property
    def target(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def allow(self) -> tuple[str, ...]:
        """What the listening end must be told so that the socket may be reached."""
        return ("--allow", f"unix:{self.path}")


# ---- Redis ----


@pytest.fixture(scope="module")
def redis() -> Iterator[Database]:
    require("redis-server redis-tools", "redis-server", "redis-cli", "redis-benchmark")
    with tempfile.TemporaryDirectory(prefix="muxpy-") as name:
        folder, port = Path(name), free_port()
        path = folder / "redis.sock"
        options = {"bind": HOST, "port": f"{port}", "unixsocket": f"{path}", "dir": name, "save": ""}
        command = ["redis-server", *(part for key, value in options.items() for part in (f"--{key}", value))]
        with serving(command, folder / "log", says="[Rr]eady to accept connections"):
            yield Database(port, path)


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


def database_user() -> str | None:
    """Who runs the server: not root, since it refuses that. None is us."""
    if os.geteuid() != 0:
        return None
    return next((name for name in ("postgres", "nobody") if _exists(name)), None)


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


@pytest.fixture(scope="module")
def postgres() -> Iterator[Database]:
    require("postgresql", "initdb", "postgres", "psql", "pgbench")
    user = database_user()
    with tempfile.TemporaryDirectory(prefix="muxpy-", ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        data = folder / "data"
        data.mkdir(0o700)
        if user is not None:
            for place in (folder, data):
                shutil.chown(place, user)
        create = ["-D", str(data), "-A", "trust", "--locale=C", "--encoding=UTF8", "--no-sync", "-U", "tester"]
        subprocess.run(
            [find("initdb") or "initdb", *create],
            check=True,
            capture_output=True,
            cwd=name,
            env=CLEAN,
            user=user,
            extra_groups=None if user is None else [],
        )
        settings = {
            "listen_addresses": HOST,
            "port": str(port),
            "unix_socket_directories": name,
            "fsync": "off",
            "shared_buffers": "16MB",
        }
        command = ["postgres", "-D", str(data), *(part for item in settings.items() for part in ("-c", "=".join(item)))]
        # SIGINT has it end its connections and processes; with SIGKILL these would be left to find out.
        # It says when it is ready. That its port takes connections says less: they may be another program's, which has
        # got the port meanwhile.
        ready = "ready to accept connections"
        with serving(command, folder / "log", says=ready, user=user, stop=signal.SIGINT):
            yield Database(port, folder / f".s.PGSQL.{port}", user or getpass.getuser())


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
