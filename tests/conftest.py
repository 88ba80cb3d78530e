"""What all tests may rely on, however they were started."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.helpers.ids import word

if TYPE_CHECKING:
    import pytest

MEASURED: Final = {"adapters", "adversary", "ext", "frame", "http", "proto", "rpc", "seam", "session"}
"""Where coverage comes from, but for what is marked `no_cover`. Tracing makes a test take three times as long, so it is
off where nothing new would be covered."""


def pytest_configure() -> None:
    """A script that runs the tests in the background has them ignore Ctrl-C, as nohup has them ignore the terminal's
    end, and whatever they start inherits that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_make_parametrize_id(val: object) -> str | None:
    """The name of a test can be typed after `-k`."""
    return word(val)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of anything but the library are not traced."""
    for item in items:
        if item.path.relative_to(Path(__file__).parent).parts[0] not in MEASURED:
            item.add_marker("no_cover")
