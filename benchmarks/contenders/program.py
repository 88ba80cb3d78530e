"""The muxpy program: `muxpy listen` and `muxpy connect -L`, plain and with TLS."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import trio

from ._base import HOST, Ports
from ._forwarding import Forwarding
from ._programs import keep_running

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Program", "ProgramTls"]

PROGRAM: Final = (sys.executable, "-m", "muxpy_cli")
LISTENING: Final = re.compile(rf"listening on {re.escape(HOST)}:(\d+)\s")
FORWARDING: Final = re.compile(rf"{re.escape(HOST)}:(\d+) ->")


class Program(Forwarding):
    def forwarder_missing(self) -> str | None:
        return None if importlib.util.find_spec("muxpy_cli") else "muxpy_cli not found (pip install '.[cli]')"

    async def forward(self, target: int, task_status: trio.TaskStatus[Ports]) -> None:
        await self._forward(target, (), (), task_status)

    async def _forward(
        self, target: int, listen: Sequence[str], connect: Sequence[str], task_status: trio.TaskStatus[Ports]
    ) -> None:
        async with trio.open_nursery() as nursery:
            listening = (*PROGRAM, "listen", f"{HOST}:0", *listen)
            far = await nursery.start(keep_running, listening, LISTENING)
            forward = ("-L", f"{HOST}:0:{HOST}:{target}")
            connecting = (*PROGRAM, "connect", f"{HOST}:{far.said}", *forward, *connect)
            near = await nursery.start(keep_running, connecting, FORWARDING)
            task_status.started({"port": near.said, "near": near.pid, "far": far.pid})


class ProgramTls(Program):
    """With a certificate that the other end checks."""

    def forwarder_missing(self) -> str | None:
        trustme = None if importlib.util.find_spec("trustme") else "trustme not found (pip install trustme)"
        return super().forwarder_missing() or trustme

    async def forward(self, target: int, task_status: trio.TaskStatus[Ports]) -> None:
        with TemporaryDirectory(prefix="muxpy-bench-tls-") as name:
            authority, certificate, key = _certificate(Path(name))
            listen = ("--tls-cert", str(certificate), "--tls-key", str(key))
            await self._forward(target, listen, ("--tls", "--tls-ca", str(authority)), task_status)


def _certificate(folder: Path) -> tuple[Path, Path, Path]:
    """The files of a CA, of a certificate that it signed, and of that certificate's key."""
    import trustme  # here, so that only serving TLS needs it

    authority, certificate, key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
    ca = trustme.CA()
    issued = ca.issue_cert(HOST)
    ca.cert_pem.write_to_path(str(authority))
    issued.private_key_pem.write_to_path(str(key))
    certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    return authority, certificate, key
