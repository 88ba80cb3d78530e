"""OpenSSH's `-L`: a private sshd and an ssh with throwaway keys, forwarding to a server of plain TCP."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import trio

from ._base import HOST, Ports
from ._forwarding import Forwarding, free_port, until_listening

__all__ = ["OpenSsh"]

SSHD_PLACES: Final = "/usr/sbin:/usr/local/sbin:/sbin"
"""Where sshd is installed, which is seldom on a user's PATH."""

RUN_FOLDER: Final = Path("/run/sshd")
"""Where an sshd that runs as root locks itself up; the package's service makes it, and so may be missing."""

SERVER_CONFIG: Final = """
ListenAddress {host}:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
UsePAM no
StrictModes no
AuthenticationMethods publickey
PermitRootLogin prohibit-password
AllowTcpForwarding local
"""


class OpenSsh(Forwarding):
    def missing(self) -> str | None:
        missing = [name for name in ("ssh", "ssh-keygen") if shutil.which(name) is None]
        if _sshd() is None:
            missing.append("sshd")
        if missing:
            return f"{', '.join(missing)} not found (Debian: apt install openssh-server openssh-client)"
        if _needs_run_folder() and not os.access(RUN_FOLDER.parent, os.W_OK):
            return f"sshd run by root needs {RUN_FOLDER}, which cannot be made"
        return None

    async def forward(self, target: int, task_status: trio.TaskStatus[Ports]) -> None:
        if _needs_run_folder():
            RUN_FOLDER.mkdir(mode=0o755, exist_ok=True)
        with TemporaryDirectory(prefix="muxpy-bench-ssh-") as name:
            folder = Path(name)
            for key in ("host", "user"):
                await trio.run_process(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)])
            server_port, port = free_port(), free_port()
            async with trio.open_nursery() as nursery:
                await nursery.start(_run, _server_command(folder, server_port))
                await until_listening(server_port)
                await nursery.start(_run, _client_command(folder, server_port, port, target))
                await until_listening(port)
                task_status.started({"port": port})


def _sshd() -> str | None:
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:{SSHD_PLACES}")


def _needs_run_folder() -> bool:
    return os.geteuid() == 0 and not RUN_FOLDER.is_dir()


def _server_command(folder: Path, port: int) -> list[str]:
    config = folder / "sshd_config"
    config.write_text(SERVER_CONFIG.format(host=HOST, port=port, folder=folder))
    return [_sshd() or "sshd", "-D", "-e", "-q", "-f", str(config)]


def _client_command(folder: Path, server_port: int, port: int, target: int) -> list[str]:
    options = {
        "BatchMode": "yes",
        "ExitOnForwardFailure": "yes",
        "IdentitiesOnly": "yes",
        "LogLevel": "ERROR",
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
    }
    return [
        *("ssh", "-F", "none", "-N", "-i", str(folder / "user"), "-p", str(server_port)),
        *(part for key, value in options.items() for part in ("-o", f"{key}={value}")),
        *("-L", f"{HOST}:{port}:{HOST}:{target}", f"{getpass.getuser()}@{HOST}"),
    ]


async def _run(command: list[str], task_status: trio.TaskStatus[trio.Process]) -> None:
    """Run a program that only ends when it is told to, or by a failure."""
    process: trio.Process = await trio.lowlevel.open_process(command, stdin=subprocess.DEVNULL)
    try:
        task_status.started(process)
        raise OSError(f"{command[0]} ended by itself, with status {await process.wait()}")
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        with trio.CancelScope(shield=True):
            await process.wait()
