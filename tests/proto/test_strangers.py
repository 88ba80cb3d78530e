"""A peer that speaks something else is told so, in words, and one that speaks muxado never is."""

import pytest

from tests.frame import wire
from tests.frame.test_strangers import STRANGERS

from .side import Side


@pytest.mark.parametrize("step", [1, 5, 1000])
@pytest.mark.parametrize(("data", "name"), STRANGERS)
def test_the_error_names_the_stranger(side: Side, data: bytes, name: str, step: int) -> None:
    for start in range(0, len(data), step):
        side.receive(data[start : start + step])
    side.core.receive_eof()
    assert side.core.error is not None
    assert side.core.error.reason.startswith(f"this looks like {name}, not muxado: ")
    [goaway] = side.frames()
    assert f"this looks like {name}".encode() in goaway.body


def test_after_a_frame_nothing_looks_like_anything_else(side: Side) -> None:
    side.receive(wire.syn(side.theirs))
    side.receive(b"GET / HTTP/1.1\r\n\r\n")
    assert side.core.error is not None
    assert "looks like" not in side.core.error.reason


def test_a_first_frame_that_is_wrong_is_just_wrong(side: Side) -> None:
    side.receive(wire.rst(99, 0))
    assert side.core.error is not None
    assert "looks like" not in side.core.error.reason
