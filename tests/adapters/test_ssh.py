"""paramiko and asyncssh, with asyncssh's server at the other end."""

from __future__ import annotations

import asyncio
import base64
import io
import warnings
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import asyncssh
import pytest
import trio

from tests.helpers.tasks import bounded

from .ends import DIGEST, IMAGE, digest, forwarded, in_asyncio
from .page import run, shows

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it knows ciphers that are going to be removed
    import paramiko

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.no_cover


@asynccontextmanager
async def ssh_server(host_key: asyncssh.SSHKey, client_key: asyncssh.SSHKey) -> AsyncIterator[int]:
    async def process(process: asyncssh.SSHServerProcess[bytes]) -> None:
        asked = process.command == "sha256sum"
        process.stdout.write(digest(await process.stdin.read()).encode() if asked else IMAGE)
        process.exit(0)

    known = asyncssh.import_authorized_keys(client_key.export_public_key().decode())
    async with asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        authorized_client_keys=known,
        process_factory=process,
        encoding=None,
    ) as server:
        yield server.get_port()


@pytest.fixture(scope="module")
def keys() -> tuple[asyncssh.SSHKey, asyncssh.SSHKey]:
    return asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")


@shows("asyncssh")
@bounded()
async def test_asyncssh(keys: tuple[asyncssh.SSHKey, asyncssh.SSHKey]) -> None:
    host_key, client_key = keys
    known = asyncssh.import_known_hosts(f"device {host_key.export_public_key().decode()}")
    options = asyncssh.SSHClientConnectionOptions(client_keys=[client_key], known_hosts=known)
    names: dict[str, Any] = {"trio": trio, "asyncio": asyncio, "asyncssh": asyncssh, "keys": options, "image": IMAGE}
    async with in_asyncio(partial(ssh_server, *keys)) as port, forwarded(port) as session:
        assert (await run("asyncssh", session=session, **names))["answer"] == DIGEST.encode()


@shows("paramiko")
@bounded()
async def test_paramiko(keys: tuple[asyncssh.SSHKey, asyncssh.SSHKey]) -> None:
    host_key, client_key = keys
    async with in_asyncio(partial(ssh_server, *keys)) as port, forwarded(port) as session:
        with paramiko.SSHClient() as ssh:
            kind, public = host_key.export_public_key().decode().split()[:2]
            known = paramiko.PKey.from_type_string(kind, base64.b64decode(public))
            ssh.get_host_keys().add("device", kind, known)
            key = paramiko.Ed25519Key.from_private_key(io.StringIO(client_key.export_private_key().decode()))
            names = await run("paramiko", session=session, trio=trio, ssh=ssh, key=key)
            assert names["answer"] == IMAGE
