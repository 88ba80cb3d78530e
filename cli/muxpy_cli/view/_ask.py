"""Asking running processes over their control sockets."""

from __future__ import annotations

import errno
import json
import os
from contextlib import suppress
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin, get_type_hints

import trio

from .._errors import Failure, describe
from ._control import control_sockets
from ._snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Answer", "ask", "ask_all", "parse_snapshot"]

TIME_LIMIT: Final = 5.0
"""Seconds for a process to continue its answer, which it sends in pieces between passes of its event loop."""
MAX_ANSWER: Final = 64 * 2**20
"""Bytes; enough for a hundred thousand forwards."""
RECEIVE_SIZE: Final = 2**16
_QUEUE_FULL: Final = {errno.EAGAIN, errno.EINVAL, errno.ENOTCONN}
MAX_INTEGER: Final = 2**63
MAX_FLOAT: Final = 1e11
"""As a Unix time, the year 5138: formatting larger numbers could fail."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of one process: a snapshot, or why there is none."""

    path: Path
    snapshot: Snapshot | None = None
    problem: str = ""


async def ask_all() -> list[Answer]:
    """Ask every process of this user, in parallel. Stale sockets are removed, and are not in the list."""
    answers: dict[Path, Answer] = {}
    paths = control_sockets()

    async def ask_one(path: Path) -> None:
        try:
            answers[path] = Answer(path, await ask(path))
        except _Stale:
            _remove(path)
        except Failure as failure:
            answers[path] = Answer(path, problem=str(failure))

    async with trio.open_nursery() as nursery:
        for path in paths:
            nursery.start_soon(ask_one, path)
    return [answers[path] for path in paths if path in answers]


def _remove(path: Path) -> None:
    with suppress(OSError):  # its process, or another one, was quicker
        path.unlink()


class _Stale(Failure):
    """No process listens there any more."""


async def ask(path: Path) -> Snapshot:
    """The snapshot of the process with that control socket. Raises Failure: there is none, it says nothing for
    TIME_LIMIT, or the answer makes no sense."""
    try:
        data = await _receive(path)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise _Stale(f"no muxpy process listens on {path}") from error
    except (OSError, trio.TooSlowError, trio.BrokenResourceError) as error:
        if _is_busy(error):
            raise Failure(f"{_name(path)} does not answer: it may be stopped, or too busy") from error
        raise Failure(f"cannot ask {path}: {describe(error)}") from error
    try:
        return parse_snapshot(data)
    except ValueError as error:
        raise Failure(f"what {path} answers is not the state of a muxpy process: {error}") from error


def _is_busy(error: BaseException) -> bool:
    """Also if its queue is full, after too many have asked in vain: connecting to a Unix socket then fails immediately,
    which is seen only when something is read."""
    cause = error.__cause__ or error
    return isinstance(error, trio.TooSlowError) or getattr(cause, "errno", None) in _QUEUE_FULL


def _name(path: Path) -> str:
    return f"process {path.stem}" if path.stem.isdecimal() else str(path)


async def _receive(path: Path) -> bytes:
    data = bytearray()
    with trio.fail_after(TIME_LIMIT) as limit:
        async with await trio.open_unix_socket(os.fspath(path)) as stream:
            while chunk := await stream.receive_some(RECEIVE_SIZE):
                limit.deadline = trio.current_time() + TIME_LIMIT
                data += chunk
                if len(data) > MAX_ANSWER:
                    raise Failure(f"what {path} answers is longer than {MAX_ANSWER} bytes")
    return bytes(data)


def parse_snapshot(data: bytes) -> Snapshot:
    """The checked snapshot. Raises ValueError, also if anything has the wrong type. A process of another version may
    send fields that are unknown here, which are ignored, and leave out fields that have a default."""
    try:
        document = json.loads(data)
    except RecursionError:
        raise ValueError("too deep") from None
    snapshot = _typed(document, Snapshot, "snapshot")
    assert isinstance(snapshot, Snapshot)
    return snapshot


def _typed(value: Any, wanted: Any, where: str) -> Any:  # noqa: ANN401
    if is_dataclass(wanted):
        return _record(value, wanted, where)
    if get_origin(wanted) is tuple and isinstance(value, list):
        return tuple(_typed(item, get_args(wanted)[0], f"{where}[{index}]") for index, item in enumerate(value))
    allowed: Sequence[type] = get_args(wanted) if isinstance(wanted, UnionType) else (wanted,)
    if value is None and NoneType in allowed:
        return None
    if type(value) is int and abs(value) >= MAX_INTEGER:
        raise ValueError(f"{where} is too large")
    if type(value) is int and float in allowed:
        value = float(value)
    if type(value) not in allowed:
        raise ValueError(f"{where} is {type(value).__name__}")
    if isinstance(value, float) and not abs(value) <= MAX_FLOAT:  # nor is not-a-number
        raise ValueError(f"{where} is {value}")
    return value


def _record(value: Any, wanted: Any, where: str) -> Any:  # noqa: ANN401
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {type(value).__name__}")
    types = _types(wanted)
    known = {}
    for field in fields(wanted):
        if field.name in value:
            known[field.name] = _typed(value[field.name], types[field.name], f"{where}.{field.name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{where}.{field.name} is missing")
    return wanted(**known)


@cache
def _types(wanted: type) -> dict[str, Any]:
    return get_type_hints(wanted)
