"""Extensions: what two sessions do with streams of a type >= MIN_EXTENSION_TYPE, beside the application.

An extension is any object with a `stream_type` and a `run`. A session gets its extensions when it is opened:
`open_session(..., extensions=[Heartbeat(), Mine()])`. Streams of its type that the peer opens go to the extension and
never to `accept_stream`; streams of an extension type that nobody registered are reset with STREAM_CLOSED.
"""

from muxpy.session import Accept, Extension

from ._heartbeat import Heartbeat, HeartbeatLost
from ._register import MIN_EXTENSION_TYPE
from ._register import by_stream_type as by_stream_type

__all__ = ["MIN_EXTENSION_TYPE", "Accept", "Extension", "Heartbeat", "HeartbeatLost"]
