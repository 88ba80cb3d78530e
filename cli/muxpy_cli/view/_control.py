"""The control socket, and where those of this user's processes are. A client that connects gets the present snapshot as
one JSON document, then the end of the stream.

Only this user can connect: the mode of the socket allows no others, nor at the default place that of its directory.
"""

from __future__ import annotations

import json
import os
import socket
import stat
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from .._errors import Failure, describe
from ..net import guard, inode, is_abandoned, private_files
from ..specs import MAX_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._snapshot import Snapshot, TakeSnapshot

__all__ = ["control_sockets", "default_control_path", "encode_snapshot", "serve_control"]


# ---- places ----

TEMPORARY: Final = "/tmp"
"""Not $TMPDIR, which may differ between the process and the one that asks it."""


def default_control_path() -> Path:
    """The socket of this process; creates its directory, which only this user may use. Raises Failure."""
    problem = "there is no place for it"
    for directory in _directories():
        try:
            _make_private(directory)
        except Failure as failure:
            problem = str(failure)
            continue
        return directory / f"{os.getpid()}.sock"
    raise Failure(f"cannot open a control socket: {problem}")


def control_sockets() -> list[Path]:
    """The control sockets of this user's processes, by process id; some may be stale."""
    found: dict[int, Path] = {}
    for directory in reversed(_directories()):
        if _is_private(directory):
            found |= {int(path.stem): path for path in directory.glob("*.sock") if path.stem.isdecimal()}
    return [found[pid] for pid in sorted(found)]


def _remove_stale() -> None:
    """Remove the control sockets that killed processes of this user have left."""
    for path in control_sockets():
        with suppress(OSError):
            # Both, since it may run under another id: in a container that shares the folder.
            if not _runs(int(path.stem)) and is_abandoned(os.fspath(path)):
                path.unlink()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _directories() -> list[Path]:
    """The first usable one is used. A process that the system started may not know the first."""
    places = [Path(TEMPORARY, f"muxpy-{os.geteuid()}")]
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime):  # relative ones are to be ignored, says the XDG specification
        places.insert(0, Path(runtime, "muxpy"))
    return places


def _make_private(directory: Path) -> None:
    """Raises Failure if it cannot be made, or another user could put something there."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        if _is_ours(directory) and not _is_private(directory):
            directory.chmod(0o700)
    except OSError as error:
        raise Failure(f"{directory}: {describe(error)}") from error
    if not _is_private(directory):
        raise Failure(f"{directory} is no directory of this user's own")


def _is_ours(directory: Path) -> bool:
    """False for a symbolic link, which could lead to where anybody may write."""
    try:
        status = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def _is_private(directory: Path) -> bool:
    return _is_ours(directory) and not directory.lstat().st_mode & 0o077


# ---- serving ----

MAX_CONNECTIONS: Final = 16
SEND_LIMIT: Final = 5.0
"""Seconds for a client to receive a piece of the answer."""
PIECE: Final = 64
"""Sessions or forwards in a piece, which takes a millisecond; other tasks run before the next."""
BACKLOG: Final = 16


async def serve_control(
    path: Path | None,
    snapshot: TakeSnapshot,
    *,
    task_status: trio.TaskStatus[Path] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled, then remove the socket; starts with its path. None: the default place of this process.

    Raises Failure before it starts if there can be no socket. At the default place that is no reason to exit: another
    user may have made it unusable."""
    if path is None:
        _remove_stale()
        path = default_control_path()
    with _bound(path) as listening:
        guard(listening, os.fspath(path))
        task_status.started(path)
        connections = trio.CapacityLimiter(MAX_CONNECTIONS)

        async def answer(stream: trio.SocketStream) -> None:
            async with stream:
                with suppress(trio.WouldBlock, trio.BrokenResourceError, trio.TooSlowError):
                    connections.acquire_nowait()
                    try:
                        for piece in encode_snapshot(await snapshot()):
                            with trio.fail_after(SEND_LIMIT):
                                await stream.send_all(piece)
                    finally:
                        connections.release()

        await trio.serve_listeners(answer, [trio.SocketListener(listening)])


def encode_snapshot(snapshot: Snapshot) -> Iterator[bytes]:
    """What `dataclasses.asdict` and `json` would make, in pieces: ten thousand sessions are several megabytes."""
    lead = "{"
    for field in fields(snapshot):
        value = getattr(snapshot, field.name)
        yield f'{lead}"{field.name}": '.encode()
        if isinstance(value, tuple):
            yield from _encode_items(value)
        else:
            yield json.dumps(_as_dict(value)).encode()
        lead = ", "
    yield b"}"


def _encode_items(items: tuple[Any, ...]) -> Iterator[bytes]:
    lead = "["
    for start in range(0, len(items), PIECE):
        piece = json.dumps(_as_dict(items[start : start + PIECE]))
        yield (lead + piece[1:-1]).encode()
        lead = ", "
    yield b"]" if items else b"[]"


def _as_dict(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, tuple):
        return [_as_dict(item) for item in value]
    if is_dataclass(value):
        return {field.name: _as_dict(getattr(value, field.name)) for field in fields(value)}
    return value


@contextmanager
def _bound(path: Path) -> Iterator[trio.socket.SocketType]:
    """A listening socket there, in place of one that is stale."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        try:
            _take_place(path)
            _bind(listening, path)
            ours = inode(os.fspath(path))
        except OSError as error:
            raise Failure(f"cannot open the control socket {path}: {describe(error)}") from error
        try:
            yield trio.socket.from_stdlib_socket(listening)
        finally:
            if inode(os.fspath(path)) == ours:  # and not that of a process that has taken its place
                with suppress(OSError):
                    path.unlink()


def _bind(listening: socket.socket, path: Path) -> None:
    """Bind and listen under another name first: a socket that does not listen yet would be taken for a stale one. The
    mode is set before the name exists, so at no time can other users connect."""
    draft = path.with_name(f".{os.getpid()}.new")
    for name in (path, draft):
        if len(os.fsencode(name)) > MAX_PATH:
            raise Failure(f"cannot open the control socket {path}: the path is longer than {MAX_PATH} bytes")
    draft.unlink(missing_ok=True)
    with private_files():
        listening.bind(os.fspath(draft))
    listening.listen(BACKLOG)
    draft.rename(path)


def _take_place(path: Path) -> None:
    """Remove a stale socket. Raises Failure if it is in use, or something else."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise Failure(f"cannot open the control socket {path}: there is something else of that name")
    if is_abandoned(os.fspath(path)):
        path.unlink()
        return
    raise Failure(f"cannot open the control socket {path}: another process uses it")
