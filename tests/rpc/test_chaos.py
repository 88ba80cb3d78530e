"""A few rounds of calls over a bad link: `tests.rpc.chaos` has the rules."""

from __future__ import annotations

import pytest

from tests.chaos.plan import FAULTS, Fault

from .chaos import play


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("fault", FAULTS)
def test_of_calls(fault: Fault, seed: int) -> None:
    assert play(seed, fault) == []
