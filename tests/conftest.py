"""What all tests may rely on, however they were started."""

from __future__ import annotations

import signal

from tests.helpers.ids import word


def pytest_configure() -> None:
    """A script that runs the tests in the background has them ignore Ctrl-C, and whatever they start inherits that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_make_parametrize_id(val: object) -> str | None:
    """The name of a test can be typed after `-k`."""
    return word(val)
