"""A trace of curl's traffic, as `muxpy trace` shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tests.helpers.tasks import LIMIT

from ._programs import HOST, curl, muxpy
from ._tunnel import tunnel

if TYPE_CHECKING:
    from pathlib import Path

    from ._nginx import Nginx


async def test_what_curl_has_done_can_be_read_from_a_trace(nginx: Nginx, folder: Path) -> None:
    trace = folder / "trace.jsonl"
    async with tunnel("-L", f"0:{nginx.target}", "--trace", str(trace)) as ends:
        url = f"http://{HOST}:{ends.port}"
        await curl("--output", str(folder / "downloaded"), f"{url}/big")
        size = (folder / "downloaded").stat().st_size
        await curl("--max-filesize", "1", "--output", str(folder / "aborted"), f"{url}/big", check=False)
        assert await ends.connecting.end() == 0
    with trio.fail_after(LIMIT):
        shown = await muxpy("trace", str(trace))
    assert shown.err == ""
    lines = shown.out.splitlines()
    assert lines[0].startswith("session 1: client, 127.0.0.1:")
    assert ends.address in lines[0].replace("localhost", HOST)
    ladder = [line for line in lines if "│" in line]
    assert " SYN 3 type 1 " in ladder[0]  # who it is
    assert len([line for line in ladder if " type 2 " in line]) == 2  # the two connections
    assert "GOAWAY last " in "".join(ladder)
    assert any("session 1 ended: this side closed it (NO_ERROR)" in line for line in lines)
    payload = next(line for line in lines if line.startswith("payload"))
    assert int(payload.split()[3].replace(",", "")) > size
    only = (await muxpy("trace", str(trace), "--stream", "3", "--all")).out
    assert "type 2" not in only
    assert " SYN 3 type 1 " in only
