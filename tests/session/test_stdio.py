"""A session over a child process's stdin and stdout, as behind ssh or inetd."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import trio

import muxpy
from tests.helpers.processes import started
from tests.helpers.tasks import bounded

CHILD = """
import trio, muxpy

async def echo(stream):
    while data := await stream.receive_some():
        await stream.send_all(data)

async def main():
    stdio = trio.StapledStream(trio.lowlevel.FdStream(1), trio.lowlevel.FdStream(0))
    async with muxpy.open_session(stdio, client=False) as session:
        await session.serve_streams(echo)

trio.run(main)
"""


@bounded()
async def test_a_session_over_the_stdio_of_a_process() -> None:
    data = os.urandom(300_000)
    async with started([sys.executable, "-c", CHILD], stdin=subprocess.PIPE) as child:
        assert child.stdio is not None
        async with muxpy.open_session(child.stdio, client=True) as session:
            stream = await session.open_stream()
            received = hashlib.sha256()
            async with trio.open_nursery() as nursery:

                async def receive() -> None:
                    while chunk := await stream.receive_some():
                        received.update(chunk)

                nursery.start_soon(receive)
                await stream.send_all(data)
                await stream.send_eof()
            assert received.digest() == hashlib.sha256(data).digest()
        end = await session.wait()
        assert end.error is None
        assert await child.wait() == 0
