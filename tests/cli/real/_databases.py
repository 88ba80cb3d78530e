"""Servers of databases, as long as a block."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..program import free_port
from ._programs import CLEAN, HOST, find, require, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Database", "postgres_server", "redis_server"]


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


@contextmanager
def redis_server() -> Iterator[Database]:
    require("redis-server redis-tools", "redis-server", "redis-cli", "redis-benchmark")
    with tempfile.TemporaryDirectory(prefix="muxpy-") as name:
        folder, port = Path(name), free_port()
        path = folder / "redis.sock"
        options = {"bind": HOST, "port": f"{port}", "unixsocket": f"{path}", "dir": name, "save": ""}
        command = ["redis-server", *(part for key, value in options.items() for part in (f"--{key}", value))]
        with serving(command, folder / "log", says="[Rr]eady to accept connections"):
            yield Database(port, path)


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


@contextmanager
def postgres_server() -> Iterator[Database]:
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
