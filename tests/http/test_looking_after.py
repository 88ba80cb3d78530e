"""Who looks after the sessions keeps none of them."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, cast

import trio
import trio.testing

from muxpy.http._session import looking_after
from tests.helpers.tasks import bounded

if TYPE_CHECKING:
    from muxpy.http import HttpSession


class Looked:
    """In the place of a session."""

    looks = 0

    def _look_after(self) -> None:
        Looked.looks += 1


@bounded()
async def test_a_session_is_not_kept_after_its_end(autojump_clock: trio.testing.MockClock) -> None:
    sessions = {cast("HttpSession", Looked())}
    async with looking_after(sessions):
        await trio.sleep(2.5)
        assert Looked.looks == 2
        left = weakref.ref(sessions.pop())
        gc.collect()
        assert left() is None
