"""Every session of these tests has the second core."""

from pathlib import Path

import pytest

from muxpy.proto import Core

from .core import SeamCore

CORE: type[Core] = SeamCore  # mypy proves that it is one

HERE = Path(__file__).parent

LEFT_OUT: dict[str, set[object]] = {
    "kind": {"lockstep", "pipe", "unix", "tls", "ssl_stream", "ssl_stream_tcp"},
    "near": {"tcp"},
    "capacity": {16},
    "opened_by": {"server"},
    "sender": {"server"},
    "how": {"used up"},
}
"""Parameters of the shell's tests that are for transports, of which three will do, or for muxado."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = [item for item in items if HERE not in item.path.parents or not _left_out(item)]


def _left_out(item: pytest.Item) -> bool:
    parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    return any(value in LEFT_OUT.get(name, ()) for name, value in parameters.items())


@pytest.fixture(autouse=True)
def _second_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muxpy._open.Connection", CORE)
    monkeypatch.setattr("muxpy._open.by_stream_type", lambda _: {})  # it has no streams of extensions
