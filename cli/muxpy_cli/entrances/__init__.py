"""Where connections come in that are more than a byte stream to a fixed target."""

from ._proxy import NotServed, greet, handshake_for
from ._udp import Flows

__all__ = ["Flows", "NotServed", "greet", "handshake_for"]
