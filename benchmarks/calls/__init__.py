"""Libraries for calls (RPC), each with a service that answers 100 bytes with the same, or with very many times 100.

A module for each has both ends. They are processes of `benchmarks.peer` as those of the other contenders are, but each
runs as its library wants it: on Trio, on asyncio, or with threads.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ._base import WORKLOADS

if TYPE_CHECKING:
    from ._base import Figures, Job

__all__ = ["LIBRARIES", "WORKLOADS", "Library"]


@dataclass(frozen=True, slots=True)
class Library:
    """A library, and the module here that uses it."""

    module: str
    needs: tuple[str, ...] = ()
    """The modules of its packages."""
    packages: str = ""
    """What pip calls these."""

    def missing(self) -> str | None:
        """What this machine lacks for it; None if nothing."""
        absent = [name for name in self.needs if importlib.util.find_spec(name) is None]
        return f"{', '.join(absent)} not found (pip install {self.packages})" if absent else None

    def serve(self) -> None:
        """Serve on a free port, and say which and in what process, until this process is ended."""
        self._loaded().serve()

    def run(self, port: int, job: Job) -> Figures:
        """Do the job with the service at `port`."""
        figures: Figures = self._loaded().run(port, job)
        return figures

    def _loaded(self) -> Any:  # noqa: ANN401 - one of the modules here
        return importlib.import_module(f".{self.module}", __name__)


LIBRARIES: Final = {
    "rpc-muxpy": Library("_muxpy", ("msgspec",), "msgspec"),
    "rpc-grpcio-aio": Library("_grpcio_aio", ("grpc", "uvloop"), "grpcio uvloop"),
    "rpc-grpcio-sync": Library("_grpcio_sync", ("grpc",), "grpcio"),
    "rpc-grpclib": Library("_grpclib", ("grpclib", "uvloop"), "grpclib uvloop"),
    "rpc-uvicorn": Library(
        "_uvicorn", ("aiohttp", "uvicorn", "httptools", "uvloop"), "aiohttp uvicorn httptools uvloop"
    ),
    "rpc-pycapnp": Library("_pycapnp", ("capnp",), "pycapnp"),
    "rpc-zmq": Library("_zmq", ("zmq", "msgspec", "uvloop"), "pyzmq msgspec uvloop"),
    "rpc-rpyc": Library("_rpyc", ("rpyc",), "rpyc"),
}
"""By the name of the contender."""
