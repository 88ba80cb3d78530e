"""Files with secrets or rights: writing them whole, what makes one that is missing, and who else may change them."""

from __future__ import annotations

import fcntl
import os
import shlex
import stat
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "create_file",
    "file_warnings",
    "if_missing",
    "key_file_warning",
    "locked_folder",
    "makes_authority",
    "makes_certificate",
    "makes_token",
    "makes_users",
    "replace_file",
    "token_file_warning",
    "users_file_warning",
]

_MADE: Final = {"cert.pem", "key.pem"}
"""By `muxpy keygen`."""
_READ: Final = stat.S_IRGRP | stat.S_IROTH
_CHANGE: Final = stat.S_IWGRP | stat.S_IWOTH


def create_file(path: Path, data: bytes, mode: int) -> None:
    """Write a new file; raises FileExistsError if there is one, or a link of that name.

    It has its mode from the start: nobody may open it before it is made private.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        _fill(descriptor, data)
    except BaseException:
        path.unlink()
        raise


def replace_file(path: Path, data: bytes, mode: int, ready: Callable[[], object] | None = None) -> None:
    """Write the file in place of what is there, which a reader sees whole, or not yet. It keeps its owner.

    `ready` is called when all is written, and nothing is changed yet: what it raises leaves the file as it was."""
    path = Path(os.path.realpath(path))  # the file behind a link is replaced, not the link
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # created with O_EXCL, 0600
    try:
        with suppress(FileNotFoundError, PermissionError):  # root may edit what belongs to the user of a service
            before = path.stat()
            os.chown(temporary, before.st_uid, before.st_gid)
        os.chmod(temporary, mode)
        _fill(descriptor, data)
        if ready is not None:
            ready()
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """One process at a time, of those that ask: nobody's change is lost between reading a file and writing it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # gives the lock back


def _fill(descriptor: int, data: bytes) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)  # before a rename, or a crash may leave an empty file under the name


def if_missing(error: Exception, path: Path, makes: Callable[[Path], str]) -> str:
    """What to add to an error about a file: what makes it, if it is that there is none."""
    return f"; {makes(path)}" if isinstance(error, FileNotFoundError) else ""


def makes_certificate(path: Path) -> str:
    """Of a certificate or a key of one's own."""
    if path.name in _MADE:
        return f"`muxpy keygen {_quoted(path.parent)}` makes it"
    return "`muxpy keygen DIR` makes a certificate and its key, DIR/cert.pem and DIR/key.pem"


def makes_authority(_: Path) -> str:
    """Of a CA for the other end's certificate, which may be that certificate itself."""
    return "it is a CA's certificate, or the cert.pem that `muxpy keygen DIR` makes at the other end"


def makes_token(_: Path) -> str:
    """Of the connecting end's token."""
    return "put the token into it that `muxpy token new NAME` prints at the listening end"


def makes_users(path: Path) -> str:
    """Of the listening end's token file."""
    return f"`muxpy token new NAME --file {_quoted(path)}` makes it"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def token_file_warning(path: Path) -> str | None:
    """What is wrong with the permissions of the connecting end's token file; None if nothing is."""
    mode = _mode(path)
    if mode & (_READ | _CHANGE):
        return (
            f"others on this machine can {'read' if mode & _READ else 'change'} the token in {path}: chmod 600 {path}"
        )
    return None


def users_file_warning(path: Path) -> str | None:
    """The same for the listening end's file of users. It has hashes only: reading it lets nobody in."""
    if _mode(path) & _CHANGE:
        return f"others on this machine can change the users in {path}, and so come in: chmod go-w {path}"
    return None


def key_file_warning(path: Path) -> str | None:
    """The same for the private key of a certificate. A group that may read keys is usual."""
    mode = _mode(path)
    if mode & stat.S_IROTH:
        return f"everybody on this machine can read the key: chmod o-r {path}"
    if mode & _CHANGE:
        return f"others on this machine can change the key: chmod go-w {path}"
    return None


def file_warnings(*, key: Path | None = None, users: Path | None = None, token: Path | None = None) -> list[str]:
    """Those about all files that an end uses."""
    looked_at = (key_file_warning, key), (users_file_warning, users), (token_file_warning, token)
    return [warning for look, path in looked_at if path is not None and (warning := look(path)) is not None]


def _mode(path: Path) -> int:
    """The permission bits of a regular file; 0 of anything else, or if it cannot be looked at: reading it says why."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")  # of systemd, whose access list shows as rights of the group
    if folder and path.is_relative_to(folder):
        return 0
    try:
        mode = path.stat().st_mode
    except OSError:
        return 0
    return mode if stat.S_ISREG(mode) else 0
