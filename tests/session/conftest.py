"""Fixtures of the session's tests."""

import pytest


@pytest.fixture(params=["poller", "copying"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways that a splice can work."""
    name: str = request.param
    if name == "copying":
        monkeypatch.setattr("muxpy.session._stream.has_poller", False)
    return name
