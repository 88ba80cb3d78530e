"""The protocol's rules, sans I/O. Nothing here waits, and nothing imports trio.

The shell above drives a `Connection`: it feeds received bytes and gets back what changed, calls a method for
each thing that the application does, and asks for the next batch of bytes to write.
"""

from ._changes import Changes, Counters, RemoteGoAway
from ._connection import Connection
from ._limits import TokenBucket, reset_buckets, too_much_before_login
from ._outbox import Batch
from ._scheduler import weight
from ._state import Event, Phase
from ._stream import StreamState

__all__ = [
    "Batch",
    "Changes",
    "Connection",
    "Counters",
    "Event",
    "Phase",
    "RemoteGoAway",
    "StreamState",
    "TokenBucket",
    "reset_buckets",
    "too_much_before_login",
    "weight",
]
