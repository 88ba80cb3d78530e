"""Calls over a session, in both directions (RPC): a service is a class of async methods with type hints.

    class Calculator(Protocol):
        async def add(self, a: int, b: int) -> int: ...
        def count(self, to: int) -> AsyncIterator[int]: ...

The side that serves has an object with these methods:

    await rpc.serve(session, [MyCalculator()])

and the other side calls them as if the object were there:

    calculator = rpc.client(session, Calculator)
    print(await calculator.add(1, 2))
    async for number in calculator.count(3):
        print(number)

Needs msgspec: `pip install 'muxpy-trio[rpc]'`. docs/rpc.md explains it, and docs/rpc-protocol.md has the wire.
"""

from ._call import Call, Interceptor, current_call
from ._client import client
from ._errors import Code, DeadlineExceeded, Error, InvalidArgument, Unavailable, Unimplemented
from ._health import Health, HealthService, HealthStatus
from ._pool import Pool, pool
from ._reflection import MethodInfo, Reflection, ServiceInfo
from ._serve import serve, stream
from ._service import idempotent, service
from ._untyped import call_json

__all__ = [
    "Call",
    "Code",
    "DeadlineExceeded",
    "Error",
    "Health",
    "HealthService",
    "HealthStatus",
    "Interceptor",
    "InvalidArgument",
    "MethodInfo",
    "Pool",
    "Reflection",
    "ServiceInfo",
    "Unavailable",
    "Unimplemented",
    "call_json",
    "client",
    "current_call",
    "idempotent",
    "pool",
    "serve",
    "service",
    "stream",
]
