"""A few rounds of calls over a bad link: `tests.rpc.chaos` has the rules."""

from __future__ import annotations

import pytest

from tests.chaos.plan import FAULTS, Fault

from .chaos import play


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("fault", FAULTS)
def test_of_calls(fault: Fault, seed: int) -> None:
    assert play(seed, fault) == []


def test_a_session_that_dies_while_calls_wait_is_no_orderly_end() -> None:
    """The session's tasks end before those that wait have heard: their calls may have been carried out."""
    assert play(1969025768, "lose") == []
