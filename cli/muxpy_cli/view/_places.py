"""Where the control sockets of this user's processes are."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from .._errors import Failure, describe
from ..net import is_abandoned

__all__ = ["control_sockets", "default_control_path", "remove_stale"]

TEMPORARY: Final = "/tmp"
"""Not $TMPDIR, which may differ between the process and whoever asks it."""


def default_control_path() -> Path:
    """The socket of this process; its directory is made, and is nobody else's. Raises Failure."""
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
    """Those of this user's processes that there are, in the order of process ids; some may be stale."""
    found: dict[int, Path] = {}
    for directory in reversed(_directories()):
        if _is_private(directory):
            found |= {int(path.stem): path for path in directory.glob("*.sock") if path.stem.isdecimal()}
    return [found[pid] for pid in sorted(found)]


def remove_stale() -> None:
    """Remove the control sockets that killed processes of this user have left."""
    for path in control_sockets():
        with suppress(OSError):
            # Both: it may run where it has another number, such as in a container with the same folder.
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
    """The first that can be used is used. A process that was started by the system may not know the first."""
    places = [Path(TEMPORARY, f"muxpy-{os.geteuid()}")]
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime):  # the XDG specification has relative ones ignored
        places.insert(0, Path(runtime, "muxpy"))
    return places


def _make_private(directory: Path) -> None:
    """Raises Failure if it cannot be made, or somebody else could put something there."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        if _is_ours(directory) and not _is_private(directory):
            directory.chmod(0o700)
    except OSError as error:
        raise Failure(f"{directory}: {describe(error)}") from error
    if not _is_private(directory):
        raise Failure(f"{directory} is no directory of this user's own")


def _is_ours(directory: Path) -> bool:
    """Not so for a symbolic link, which could lead to where anybody may write."""
    try:
        status = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def _is_private(directory: Path) -> bool:
    return _is_ours(directory) and not directory.lstat().st_mode & 0o077
