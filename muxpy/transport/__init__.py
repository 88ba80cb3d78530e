"""What a session runs over: any Trio stream; and sockets, with and without TLS, on a shorter path."""

from ._base import LOGIN_BYTES, TRANSPORT_ERRORS, Address, Interrupted, StreamTransport, Transport, peer_name
from ._socket import SocketTransport, do_not_pace, prepare_local
from ._tls import TlsTransport
from ._turns import Turns, ending_turns

__all__ = [
    "LOGIN_BYTES",
    "TRANSPORT_ERRORS",
    "Address",
    "Interrupted",
    "SocketTransport",
    "StreamTransport",
    "TlsTransport",
    "Transport",
    "Turns",
    "do_not_pace",
    "ending_turns",
    "peer_name",
    "prepare_local",
]
