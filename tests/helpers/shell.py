"""The shell's own tests, to be run with other cores than muxado's."""

from __future__ import annotations

from importlib import import_module
from inspect import unwrap
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

__all__ = ["LEFT_OUT", "leave_out", "shell_tests"]

LEFT_OUT: Final[dict[str, set[object]]] = {
    "kind": {"lockstep", "pipe", "unix", "tls", "ssl_stream", "ssl_stream_tcp"},
    "near": {"tcp"},
    "capacity": {16},
    "opened_by": {"server"},
    "sender": {"server"},
    "how": {"used up"},
    "use": {"uses an extension"},
}
"""Parameters of the shell's tests that are for transports, of which three will do, or for muxado."""


def shell_tests(names: Iterable[str], others: Collection[str]) -> dict[str, object]:
    """The tests of these files of tests/session, but for the `others`, and those that play the peer themselves, frame
    by frame."""
    modules = [import_module(f"tests.session.test_{name}") for name in names]
    tests = {name: test for module in modules for name, test in vars(module).items() if name.startswith("test_")}
    return {name: test for name, test in tests.items() if name not in others and not _about_bytes(test)}


def _about_bytes(test: Callable[..., object]) -> bool:
    """Whether a test plays the peer itself, frame by frame."""
    return not {"RawPeer", "raw_session", "raw_joint", "wire"}.isdisjoint(unwrap(test).__code__.co_names)


def leave_out(items: list[pytest.Item], folder: Path) -> None:
    """Take from the tests of a folder those with parameters of `LEFT_OUT`."""
    items[:] = [item for item in items if folder not in item.path.parents or not _left_out(item)]


def _left_out(item: pytest.Item) -> bool:
    parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    return any(value in LEFT_OUT.get(name, ()) for name, value in parameters.items())
