"""Interfaces: zones of link-local addresses, and what is this machine's own. It all runs where there are such."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import trio

from tests.helpers.tasks import LIMIT

from ..program import ROOT
from ._places import with_network
from ._programs import CLEAN, run

if TYPE_CHECKING:
    from pathlib import Path

SETUP: Final = " && ".join(f"ip addr add {address} dev lo" for address in ("fe80::7/64", "10.9.8.7/32", "fd09::7/128"))


async def inside(tmp_path: Path, check: str) -> None:
    """Run a check of `_inside.py` in a network of its own."""
    hosts = tmp_path / "hosts"
    hosts.write_text("10.9.8.7 own.test\nfd09::7 own.test\n127.0.0.1 localhost\n")
    code = f"import trio; from tests.cli.real import _inside; trio.run(_inside.{check})"
    with trio.fail_after(LIMIT):
        await run(*with_network(SETUP, hosts), sys.executable, "-c", code, PYTHONPATH=f"{ROOT}:{CLEAN['PYTHONPATH']}")


async def test_a_zone_is_kept_from_end_to_end(tmp_path: Path) -> None:
    await inside(tmp_path, "zones")


async def test_datagrams_keep_it_as_well(tmp_path: Path) -> None:
    await inside(tmp_path, "datagrams")


async def test_names_do_not_lead_to_the_addresses_of_interfaces(tmp_path: Path) -> None:
    await inside(tmp_path, "own_addresses")
