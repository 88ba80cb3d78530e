"""Who takes part: each knows how to serve on a free port of 127.0.0.1, and how to open streams to such a server."""

from __future__ import annotations

from typing import Final

from ._base import HOST, Client, Contender
from .asynchronous_ssh import AsyncSsh
from .mux import Muxpy, MuxpyAccept, MuxpyBeside, MuxpyHeld, MuxpyTls
from .openssh import OpenSsh
from .plain import Tcp
from .tls import TrioSsl

__all__ = ["CONTENDERS", "HOST", "Client", "Contender"]

CONTENDERS: Final[dict[str, Contender]] = {
    "muxpy": Muxpy(),
    "muxpy-accept": MuxpyAccept(),
    "muxpy-held": MuxpyHeld(),
    "muxpy-beside": MuxpyBeside(),
    "muxpy-tls": MuxpyTls(),
    "tcp": Tcp(),
    "trio-ssl": TrioSsl(),
    "ssh": OpenSsh(),
    "asyncssh": AsyncSsh(),
}
