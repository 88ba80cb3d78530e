"""Processes in a place of their own: with other names, other interfaces."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from typing import TYPE_CHECKING, Final

import pytest

from ._programs import require

if TYPE_CHECKING:
    from pathlib import Path

_HOSTS: Final = 'mount --bind "$0" /etc/hosts && exec "$@"'
_NETWORK: Final = "ip link set lo up && "


def with_hosts(hosts: Path) -> list[str]:
    """What goes before a command for which this is the hosts file; skips the test where that is not allowed."""
    _need("-rm")
    return ["unshare", "-rm", "sh", "-c", _HOSTS, str(hosts)]


def with_network(setup: str, hosts: Path) -> list[str]:
    """The same with interfaces of its own as well, which the shell commands in `setup` set up."""
    require("iproute2", "ip")
    _need("-rmn")
    return ["unshare", "-rmn", "sh", "-c", f"{_NETWORK}{setup} && {_HOSTS}", str(hosts)]


def _need(option: str) -> None:
    require("util-linux", "unshare")
    if not _may_unshare(option):
        if os.environ.get("MUXPY_REQUIRE_LIVE_PEERS") == "1":
            pytest.fail("this user may make no namespaces")
        pytest.skip("this user may make no namespaces")


@cache
def _may_unshare(option: str) -> bool:
    return subprocess.run(["unshare", option, "true"], capture_output=True, check=False).returncode == 0
