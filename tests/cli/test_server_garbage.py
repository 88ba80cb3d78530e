"""Full collections leave out what lives long."""

from __future__ import annotations

import gc
import weakref

from muxpy_cli.server._garbage import Garbage


class Knot:
    """Garbage for the cycle collector."""

    def __init__(self) -> None:
        self.itself = self


def test_what_survived_a_collection_is_not_looked_at_again() -> None:
    before = gc.get_freeze_count()
    thresholds = gc.get_threshold()
    with Garbage():
        knot = Knot()
        left = weakref.ref(knot)
        gc.collect()
        assert gc.get_freeze_count() > before
        del knot
        gc.collect()
        assert left() is not None
    assert gc.get_freeze_count() == 0
    assert gc.get_threshold() == thresholds
    gc.collect()
    assert left() is None


def test_a_pause_leaves_out_what_it_has_made() -> None:
    with Garbage() as garbage:
        frozen = gc.get_freeze_count()
        with garbage.paused():
            assert not gc.isenabled()
            made = [Knot() for _ in range(1000)]
        assert gc.isenabled()
        assert gc.get_freeze_count() >= frozen + len(made)
    assert gc.get_freeze_count() == 0
