"""The rules of HTTP/2 (docs/http2.md), sans I/O."""

from ._connection import Connection
from ._heads import Malformed, RequestHead, ResponseHead, check_fields, check_trailers
from ._stream import HttpStream

__all__ = ["Connection", "HttpStream", "Malformed", "RequestHead", "ResponseHead", "check_fields", "check_trailers"]
