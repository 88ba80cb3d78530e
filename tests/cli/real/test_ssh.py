"""OpenSSH through `-W` as its ProxyCommand, and through a forwarded port."""

from __future__ import annotations

import getpass
import os
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..program import closed_port, free_port
from ._nginx import sha256
from ._programs import CLEAN, HOST, Done, muxpy, require, run, serving
from ._tunnel import tunnel

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 10_000_000

RUN_FOLDER = Path("/run/sshd")
"""Where an sshd that runs as root locks itself up; the package's service makes it, and so may be missing."""

CONFIG = """
ListenAddress {host}:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
UsePAM no
StrictModes no
AuthenticationMethods publickey
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True, slots=True)
class Ssh:
    """A private sshd."""

    port: int
    folder: Path

    @property
    def options(self) -> tuple[str, ...]:
        """What ssh, scp and sftp must be told to get in."""
        settings = {
            "BatchMode": "yes",
            "IdentitiesOnly": "yes",
            "IdentityFile": f"{self.folder}/user",
            "LogLevel": "ERROR",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
        }
        return ("-F", "none", *(part for item in settings.items() for part in ("-o", "=".join(item))))


@pytest.fixture(scope="module")
def ssh() -> Iterator[Ssh]:
    require("openssh-client openssh-server", "ssh", "scp", "sftp", "ssh-keygen", "sshd")
    if os.geteuid() == 0:
        RUN_FOLDER.mkdir(mode=0o755, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="muxpy-") as name:
        folder, port = Path(name), free_port()
        for key in ("host", "user"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)]
            subprocess.run(command, check=True, env=CLEAN)
        config = folder / "sshd_config"
        config.write_text(CONFIG.format(host=HOST, port=port, folder=folder))
        with serving(["sshd", "-D", "-e", "-f", str(config)], folder / "log", port=port):
            yield Ssh(port, folder)


def proxy(address: str) -> tuple[str, str]:
    """The option that has ssh go through a listening end."""
    return "-o", f"ProxyCommand={shlex.quote(sys.executable)} -m muxpy_cli connect {address} -W %h:%p"


async def through(ssh: Ssh, address: str, port: int, command: str, *, stdin: bytes = b"") -> Done:
    """Run a command at sshd's end."""
    there = ("-p", str(port), f"{getpass.getuser()}@{HOST}", command)
    return await run("ssh", *ssh.options, *proxy(address), *there, stdin=stdin, check=False)


async def test_a_command_and_its_exit_code(ssh: Ssh) -> None:
    async with tunnel("-L", "0:localhost:1") as ends:
        done = await through(ssh, ends.address, ssh.port, "cat; echo over >&2; exit 7", stdin=b"to be read\n")
        assert (done.code, done.out, done.err.strip()) == (7, "to be read\n", "over")


async def test_megabytes_through_cat_scp_and_sftp(ssh: Ssh, folder: Path) -> None:
    data = os.urandom(SIZE)
    source = folder / "source"
    source.write_bytes(data)
    there = f"{getpass.getuser()}@{HOST}"
    async with tunnel("-L", f"0:{HOST}:{ssh.port}") as ends:
        port = ("-P", str(ssh.port))
        counted = await through(ssh, ends.address, ssh.port, "sha256sum", stdin=data)
        assert counted.out.split()[0] == sha256(data)
        await run("scp", *ssh.options, *proxy(ends.address), *port, str(source), f"{there}:{folder}/up")
        assert sha256((folder / "up").read_bytes()) == sha256(data)
        batch = f"get {folder}/up {folder}/down\n".encode()
        await run("sftp", *ssh.options, *proxy(ends.address), *port, "-b", "-", there, stdin=batch)
        assert sha256((folder / "down").read_bytes()) == sha256(data)
        # And the usual way, by a forwarded port.
        forwarded = ("-p", str(ends.port), there, f"cat {source} | sha256sum")
        assert (await run("ssh", *ssh.options, *forwarded)).out.split()[0] == sha256(data)


async def test_a_target_that_is_not_there_or_not_allowed(ssh: Ssh) -> None:
    listen = ("--allow", f"{HOST}:*")
    async with tunnel("-L", f"0:{HOST}:1", listen=listen) as ends:
        with closed_port() as port:
            refused = await through(ssh, ends.address, port, "true")
        assert refused.code == 255
        assert f"the other end cannot reach {HOST}:{port}: connection refused" in refused.err
        forbidden = await muxpy("connect", ends.address, "-W", "127.0.0.2:22", check=False)
        assert forbidden.code == 3
        assert re.search(r"127\.0\.0\.2:22\b.* not in allow", forbidden.err)
