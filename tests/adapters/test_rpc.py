"""RPC libraries, which want a socket or a path."""

from __future__ import annotations

import asyncio
import base64
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import capnp
import grpc
import Pyro5.api
import pytest
import rpyc
import rpyc.utils.server
import trio

from tests.helpers.load import until
from tests.helpers.tasks import bounded

from .ends import DIGEST, IMAGE, digest, forwarded, in_asyncio, in_thread
from .page import run, shows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.no_cover


class RpycDevice(rpyc.Service):  # type: ignore[misc]
    def exposed_digest(self, image: bytes) -> str:
        return digest(image)


@shows("RPyC")
@bounded()
async def test_rpyc() -> None:
    server = rpyc.utils.server.ThreadedServer(RpycDevice, "127.0.0.1", 0)
    with in_thread(server.start, server.close):
        await until(lambda: server.active)  # it listens only then
        async with forwarded(server.port) as session:
            assert (await run("RPyC", session=session, trio=trio, rpyc=rpyc, image=IMAGE))["answer"] == DIGEST


@Pyro5.api.expose
class PyroDevice:
    def digest(self, image: dict[str, str]) -> str:
        return digest(base64.b64decode(image["data"]))


@shows("Pyro5")
@bounded()
async def test_pyro(tmp_path: Path) -> None:
    here = str(tmp_path / "here")
    with Pyro5.api.Daemon("127.0.0.1", 0) as daemon:
        daemon.register(PyroDevice, "device")
        with in_thread(daemon.requestLoop, daemon.shutdown):
            async with forwarded(int(daemon.locationStr.rpartition(":")[2])) as session:
                names = await run("Pyro5", session=session, trio=trio, Pyro5=Pyro5, path=here, image=IMAGE)
                assert names["answer"] == DIGEST


schema = capnp.load(str(Path(__file__).with_name("device.capnp")))


class CapnpDevice(schema.Device.Server):  # type: ignore[misc, name-defined]
    async def digest(self, data: bytes, **_: Any) -> str:  # noqa: ANN401
        return digest(data)


@asynccontextmanager
async def capnp_server() -> AsyncIterator[int]:
    async def serve(stream: capnp.AsyncIoStream) -> None:
        await capnp.TwoPartyServer(stream, bootstrap=CapnpDevice()).on_disconnect()

    async with capnp.kj_loop():
        server = await capnp.AsyncIoStream.create_server(serve, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]


@shows("pycapnp")
@bounded()
async def test_pycapnp() -> None:
    names = {"trio": trio, "asyncio": asyncio, "capnp": capnp, "schema": schema, "image": IMAGE}
    async with in_asyncio(capnp_server) as port, forwarded(port) as session:
        assert (await run("pycapnp", session=session, **names))["answer"] == DIGEST


class GrpcDevice(grpc.GenericRpcHandler):  # type: ignore[misc]
    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(lambda image, _: digest(image).encode())


@shows("grpcio")
@bounded()
async def test_grpcio(tmp_path: Path) -> None:
    there, here = tmp_path / "there", str(tmp_path / "here")
    server = grpc.server(ThreadPoolExecutor(2), [GrpcDevice()])
    server.add_insecure_port(f"unix:{there}")
    server.start()
    try:
        async with forwarded(there) as session:
            names = await run("grpcio", session=session, trio=trio, grpc=grpc, path=here, image=IMAGE)
            assert names["answer"] == DIGEST.encode()
    finally:
        server.stop(None).wait()
