"""Another machine: a network namespace behind a link of its own, which can go down."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Machine", "another_machine"]


class Machine:
    """`address` is this machine's as the other one sees it."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address

    def command(self, *command: str) -> list[str]:
        """That command, to be run there."""
        return ["ip", "netns", "exec", self.name, *command]

    def vanish(self) -> None:
        """Its link goes down: nothing comes any more, and nothing says so."""
        _run(*self.command("ip", "link", "set", "there", "down"))


@contextmanager
def another_machine() -> Iterator[Machine]:
    """Skips the test where none can be made; fails it instead for root where MUXPY_REQUIRE_LIVE_PEERS is 1. Nobody else
    may join two machines by a link."""
    number = random.SystemRandom().randrange(1 << 14)  # of the networks of four addresses in 198.18.0.0/16 (RFC 2544)
    name = f"muxpy{number}"
    network = f"198.18.{number // 64}."
    here, there = (f"{network}{number % 64 * 4 + host}" for host in (1, 2))
    try:
        if shutil.which("ip") is None:
            raise FileNotFoundError("no ip (iproute2)")
        _run("ip", "netns", "add", name)
    except (OSError, subprocess.CalledProcessError) as error:
        if os.environ.get("MUXPY_REQUIRE_LIVE_PEERS") == "1" and os.geteuid() == 0:
            raise
        pytest.skip(f"no network namespace can be made here: {error}")
    try:
        _run("ip", "link", "add", name, "type", "veth", "peer", "name", "there", "netns", name)
        _run("ip", "address", "add", f"{here}/30", "dev", name)
        _run("ip", "link", "set", name, "up")
        machine = Machine(name, here)
        _run(*machine.command("ip", "address", "add", f"{there}/30", "dev", "there"))
        _run(*machine.command("ip", "link", "set", "there", "up"))
        yield machine
    finally:
        _run("ip", "netns", "delete", name)  # the link goes with it


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
