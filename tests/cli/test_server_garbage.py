"""Full collections leave out what lives long, and what is left of ended sessions goes all the same."""

from __future__ import annotations

import gc
import weakref

from muxpy_cli.server._garbage import ENOUGH, Garbage


class Knot:
    """Garbage for the cycle collector."""

    def __init__(self) -> None:
        self.itself = self


def test_what_survived_a_collection_is_not_looked_at_again_until_as_much_has_ended_as_lives() -> None:
    before = gc.get_freeze_count()
    living = 100
    with Garbage() as garbage:
        knot = Knot()
        left = weakref.ref(knot)
        gc.collect()
        assert gc.get_freeze_count() > before
        del knot
        gc.collect()
        assert left() is not None
        for _ in range(living + ENOUGH):
            garbage.session_ended(living)
        assert left() is not None
        garbage.session_ended(living)
        assert left() is None
        for _ in range(ENOUGH):
            garbage.session_ended(0)
    assert gc.get_freeze_count() == 0
