"""What goes wrong with calls: exceptions with a name and a code, the same at both ends."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, ClassVar, Final

import trio

__all__ = [
    "Code",
    "DeadlineExceeded",
    "Error",
    "InvalidArgument",
    "Unavailable",
    "Unimplemented",
    "error_class",
    "named_code",
]


class Code(IntEnum):
    """Kinds of errors. Names and numbers are those of gRPC's status codes, which many programs know."""

    CANCELLED = 1
    """The caller gave the call up."""
    UNKNOWN = 2
    """An error of a kind that nobody has named."""
    INVALID_ARGUMENT = 3
    """The arguments are wrong, whatever the state of the service."""
    DEADLINE_EXCEEDED = 4
    """The caller's time was over before the answer was there."""
    NOT_FOUND = 5
    """What the call asks for does not exist."""
    ALREADY_EXISTS = 6
    """What the call would make exists already."""
    PERMISSION_DENIED = 7
    """This caller may not do that."""
    RESOURCE_EXHAUSTED = 8
    """A quota or a limit is used up."""
    FAILED_PRECONDITION = 9
    """The state of the service does not allow it; trying again is of no use until that has changed."""
    ABORTED = 10
    """Something else came in between; a larger piece of work may be tried again from its beginning."""
    OUT_OF_RANGE = 11
    """It reaches past the end of something."""
    UNIMPLEMENTED = 12
    """There is no such service or method."""
    INTERNAL = 13
    """The service has a bug."""
    UNAVAILABLE = 14
    """The other side cannot be reached, or goes away."""
    DATA_LOSS = 15
    """Data is lost or damaged."""
    UNAUTHENTICATED = 16
    """The service does not know who the caller is."""


_classes: Final[dict[str, type[Error]]] = {}


class Error(Exception):
    """A call has failed. A handler raises it, and the caller gets an exception of the same class.

    A service's own errors are classes derived from this one, with a code and, if they have more to say, the type of
    their details, which may be anything that an argument can be:

        class Overdrawn(rpc.Error, code=rpc.Code.FAILED_PRECONDITION, details=int):
            "The account has less than that."

        raise Overdrawn("there are only 5 left", details=5)

    At the caller, a class is found by its name. One that the caller's program does not have becomes an `Error` with
    that name and code, and details as plain values.

    `code`: a Code, or another number that the peer has used. `name`: the name of the class. `message`: for people.
    `details`: see above; None if there are none. `retryable`: whether the other side cannot have acted on the call, so
    that it can be made again without being carried out twice. `remote`: whether it has come from the other side.
    """

    code: int = Code.UNKNOWN
    name: str = "Error"
    details_type: ClassVar[Any] = Any

    def __init__(self, message: str = "", *, details: object = None, code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.retryable = False
        self.remote = False
        if code is not None:
            self.code = code

    def __init_subclass__(cls, *, code: Code | None = None, details: object = None, **others: object) -> None:
        super().__init_subclass__(**others)
        if "details" in cls.__annotations__:
            raise TypeError(f"the type of details is said as in: class {cls.__name__}(rpc.Error, details=...)")
        if code is not None:
            cls.code = code
        if details is not None:
            cls.details_type = details
        cls.name = cls.__name__
        known = _classes.setdefault(cls.name, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"{known.__module__} has an error named {cls.name!r} already, and callers go by the name")
        _classes[cls.name] = cls  # the module was loaded again

    def __str__(self) -> str:
        parts = self.name if type(self) is Error and self.name != "Error" else "", self.message
        return ": ".join(filter(None, parts)) or getattr(self.code, "name", f"code {self.code}")


class InvalidArgument(Error, code=Code.INVALID_ARGUMENT):
    """What was received is not what the method takes."""


class DeadlineExceeded(Error, trio.TooSlowError, code=Code.DEADLINE_EXCEEDED):
    """The other side has ended the call because its time was over."""


class Unimplemented(Error, code=Code.UNIMPLEMENTED):
    """The other side does not serve this method."""


class Unavailable(Error, code=Code.UNAVAILABLE):
    """The session has ended or goes away, or the call was refused. `retryable` says whether it may have been begun."""

    def __init__(self, message: str = "", *, retryable: bool = False, details: object = None) -> None:
        super().__init__(message, details=details)
        self.retryable = retryable


def error_class(name: str) -> type[Error]:
    """The class of this name; Error if there is none."""
    return _classes.get(name, Error)


def named_code(code: int) -> int:
    """The Code of this number, if it has a name."""
    try:
        return Code(code)
    except ValueError:
        return code
