"""OpenSSH's `-L`: a private sshd and an ssh with throwaway keys, forwarding to a server of plain TCP or another."""

from __future__ import annotations

import getpass
import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import trio

from benchmarks.tools import absent_tools, find_tool

from ._base import HOST, Ports
from ._forwarding import Forwarding
from ._programs import free_port, keep_running, until_listening

__all__ = ["OpenSsh"]

RUN_FOLDER: Final = Path("/run/sshd")
"""The folder that an sshd run by root chroots into. The package's service makes it, so it may be missing."""

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

FORWARDING: Final = re.compile(r"^forwarding (\d+)$", re.MULTILINE)
"""What the client prints once it listens: a connection to find out would also reach the server behind it."""


class OpenSsh(Forwarding):
    def forwarder_missing(self) -> str | None:
        if absent := absent_tools(("ssh", "ssh-keygen", "sshd"), "openssh-server openssh-client"):
            return absent
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
                far = await nursery.start(keep_running, _server_command(folder, server_port))
                await until_listening(server_port)
                client = _client_command(folder, server_port, port, target)
                near = await nursery.start(keep_running, client, FORWARDING)
                task_status.started({"port": port, "near": near.pid, "far": far.pid})


def _needs_run_folder() -> bool:
    return os.geteuid() == 0 and not RUN_FOLDER.is_dir()


def _server_command(folder: Path, port: int) -> list[str]:
    config = folder / "sshd_config"
    config.write_text(SERVER_CONFIG.format(host=HOST, port=port, folder=folder))
    return [find_tool("sshd") or "sshd", "-D", "-e", "-q", "-f", str(config)]


def _client_command(folder: Path, server_port: int, port: int, target: int) -> list[str]:
    options = {
        "BatchMode": "yes",
        "ExitOnForwardFailure": "yes",
        "IdentitiesOnly": "yes",
        "LocalCommand": f"echo forwarding {port}",
        "LogLevel": "ERROR",
        "PermitLocalCommand": "yes",
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
    }
    return [
        *("ssh", "-F", "none", "-N", "-i", str(folder / "user"), "-p", str(server_port)),
        *(part for key, value in options.items() for part in ("-o", f"{key}={value}")),
        *("-L", f"{HOST}:{port}:{HOST}:{target}", f"{getpass.getuser()}@{HOST}"),
    ]
