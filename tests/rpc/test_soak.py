"""A few short rounds of the soak of calls."""

from __future__ import annotations

from tests.helpers.tasks import bounded

from .soak import Soak


@bounded()
async def test_after_rounds_of_calls_everything_is_as_before() -> None:
    soak = Soak(1)
    await soak.run(rounds=3, seconds=0.5)
    assert soak.violations == []
    assert soak.calls["answered"] > 100
