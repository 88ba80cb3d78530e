"""What any multiplexed connection has, sans I/O: streams, flow control, scheduling and limits; and a package with the
rules of each protocol. Nothing here waits, and nothing imports trio.

The shell drives a `Core`: see `_core`.
"""

from ._batch import Batch
from ._changes import Changes, Counters, RemoteGoAway
from ._core import Core, Fields, Opening
from ._limits import TokenBucket, reset_buckets, too_much_before_login
from ._outbox import Framing
from ._scheduler import weight
from ._sending import Sending
from ._state import Event, Phase
from ._stream import Handle, StreamState

__all__ = [
    "Batch",
    "Changes",
    "Core",
    "Counters",
    "Event",
    "Fields",
    "Framing",
    "Handle",
    "Opening",
    "Phase",
    "RemoteGoAway",
    "Sending",
    "StreamState",
    "TokenBucket",
    "reset_buckets",
    "too_much_before_login",
    "weight",
]
