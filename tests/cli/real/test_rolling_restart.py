"""The listening end is restarted under load, and no new connection fails. `make restarts` does it a hundred times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tests.helpers.tasks import LIMIT

from ._programs import require
from .rolling import restart_under_load

if TYPE_CHECKING:
    from pathlib import Path

    from ._nginx import Nginx

RESTARTS = 2


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_no_new_connection_fails_while_the_server_is_restarted(nginx: Nginx, folder: Path, tls: bool) -> None:
    require("wrk", "wrk")
    with trio.fail_after(LIMIT):
        figures = await restart_under_load(folder, nginx, RESTARTS, tls=tls)
    assert figures.failures == []
    assert (figures.restarts, figures.downloads) == (RESTARTS, RESTARTS)
    assert figures.wrk > 0
    assert figures.curl >= 2  # through -L and -D
