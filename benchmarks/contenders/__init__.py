"""The contenders: each can serve on a free port of 127.0.0.1, and open streams to such a server."""

from __future__ import annotations

from typing import Final

from ._base import HOST, Client, Contender
from ._forwarding import Forwarding, NoTunnel
from .asynchronous_ssh import AsyncSsh
from .http import ALONE, CLIENTS, HTTP_SERVERS
from .mux import Muxpy, MuxpyAccept, MuxpyBeside, MuxpyHeld, MuxpyTls
from .openssh import OpenSsh
from .plain import Tcp
from .program import Program, ProgramTls
from .targets import TARGETS
from .tls import TrioSsl

__all__ = ["CONTENDERS", "FORWARDERS", "HOST", "HTTP", "TARGETS", "Client", "Contender"]

FORWARDERS: Final[dict[str, type[Forwarding]]] = {
    "program": Program,
    "program-tls": ProgramTls,
    "none": NoTunnel,
    "ssh": OpenSsh,
    "asyncssh": AsyncSsh,
}

HTTP: Final[dict[str, Contender]] = {**HTTP_SERVERS, **CLIENTS, **ALONE}
"""What the measures of HTTP/2 need; its servers do not do what those of the other contenders do with a stream."""

CONTENDERS: Final[dict[str, Contender]] = {
    "muxpy": Muxpy(),
    "muxpy-accept": MuxpyAccept(),
    "muxpy-held": MuxpyHeld(),
    "muxpy-beside": MuxpyBeside(),
    "muxpy-tls": MuxpyTls(),
    "tcp": Tcp(),
    "trio-ssl": TrioSsl(),
    **{name: forwarder() for name, forwarder in FORWARDERS.items()},
    **{
        f"{name}-{target}": forwarder(serving())
        for name, forwarder in FORWARDERS.items()
        for target, serving in TARGETS.items()
    },
    **HTTP,
}
"""The forwarders by their name, for plain TCP behind them, and by their name and that of another target."""
