"""The static table of HPACK (RFC 7541, appendix A), and which fields an encoder keeps out of the dynamic one."""

from typing import Final

Field = tuple[bytes, bytes]
"""Name and value."""
Entry = tuple[Field, int]
"""A field as a table holds it, with its size."""

OVERHEAD: Final = 32
"""What each field counts beside its bytes: in a table (RFC 7541, 4.1), and against a limit (RFC 9113, 6.5.2)."""

INITIAL_TABLE_SIZE: Final = 4096
"""Bytes of either dynamic table until something else is said (RFC 9113, 6.5.2)."""

_FIELDS: Final = b"""
:authority
:method GET
:method POST
:path /
:path /index.html
:scheme http
:scheme https
:status 200
:status 204
:status 206
:status 304
:status 400
:status 404
:status 500
accept-charset
accept-encoding gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate
"""


def entry(name: bytes, value: bytes) -> Entry:
    """A field with its size."""
    return (name, value), len(name) + len(value) + OVERHEAD


def _entries() -> list[Entry]:
    parts = [line.partition(b" ") for line in _FIELDS.strip().splitlines()]
    return [entry(name, value) for name, _, value in parts]


STATIC_ENTRIES: Final = (entry(b"", b""), *_entries())
"""By index. Index 0 stands for nothing, and whoever reads an index must refuse it."""
FIRST_DYNAMIC: Final = len(STATIC_ENTRIES)
STATIC_FIELDS: Final = {field: index for index, (field, _) in enumerate(STATIC_ENTRIES) if index}
STATIC_NAMES: Final = {field[0]: STATIC_FIELDS[field] for field in reversed(STATIC_FIELDS)}
"""The first index of each name."""

UNINDEXED: Final = frozenset(
    b":path age content-length content-range etag if-modified-since if-none-match last-modified location set-cookie "
    b"traceparent x-request-id".split()
)
"""Names whose values seldom come again: they would only push others out of the table, and make every block a new one.
Much as nghttp2 has it."""
SECRET: Final = frozenset(b"authorization proxy-authorization".split())
"""Names whose values nobody on the way may put into a table, where they could be guessed (RFC 7541, 7.1.3)."""
SHORT_COOKIE: Final = 20
"""Bytes. A cookie below that could be guessed, too."""
