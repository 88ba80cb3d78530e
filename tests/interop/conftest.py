"""What the tests against the live Go peer share."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from tests.interop.gopeer import PROGRAM

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.link import Role


@pytest.fixture(scope="session")
def go_program() -> Path:
    """The Go peer, built. Where it cannot be, the test is skipped, or fails if live peers are required."""
    PROGRAM.require()
    return PROGRAM.build()


@pytest.fixture(params=["client", "server"], ids=["muxpy_client", "muxpy_server"])
def role(request: pytest.FixtureRequest) -> Role:
    """What muxpy is; the Go peer is the other."""
    return cast("Role", request.param)
