"""The names that muxpy exports, and the checks of SessionConfig."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pytest
import trio

import muxpy
import muxpy.ext

NAMES = {
    "Accept",
    "MIN_EXTENSION_TYPE",
    "ErrorCode",
    "Extension",
    "Heartbeat",
    "HeartbeatLost",
    "Pacer",
    "ProtocolError",
    "Session",
    "SessionClosed",
    "SessionConfig",
    "SessionEnd",
    "SessionGoingAway",
    "SessionGroup",
    "SessionListener",
    "SessionOfStream",
    "SessionStatistics",
    "Stream",
    "StreamReset",
    "StreamStatistics",
    "TraceEvent",
    "TraceFile",
    "open_session",
    "open_tcp_session",
    "serve_tcp_sessions",
}


def test_exported_names() -> None:
    assert set(muxpy.__all__) == NAMES
    public = {
        name
        for name in dir(muxpy)
        if not name.startswith("_") and not isinstance(getattr(muxpy, name), types.ModuleType)
    }
    assert public == NAMES
    assert set(muxpy.ext.__all__) == {"Accept", "Extension", "Heartbeat", "HeartbeatLost", "MIN_EXTENSION_TYPE"}


def test_the_packages_are_there_without_being_imported_by_name() -> None:
    use = "import muxpy; print(muxpy.ext.Heartbeat, muxpy.proto.Core, muxpy.frame.Buffer)"
    subprocess.run([sys.executable, "-c", use], capture_output=True, check=True)


def test_what_a_stream_calls_its_session_has_all_that_a_session_has() -> None:
    """`SessionOfStream` is a Protocol, and mypy sees to the rest: that a Session is one."""

    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(muxpy.SessionOfStream) == public(muxpy.Session)


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert muxpy.__version__ == project["version"]


def test_the_module_is_the_program() -> None:
    done = subprocess.run([sys.executable, "-m", "muxpy", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"muxpy {muxpy.__version__}\n"


@pytest.mark.parametrize(
    ("hide", "said"),
    [
        ("sys.modules['click'] = None", "the program needs click: install the extra `cli`; in a clone of muxpy:"),
        (
            "import importlib.util as u; f = u.find_spec; u.find_spec = lambda n: None if n == 'muxpy_cli' else f(n)",
            "the program is not installed: install muxpy-trio with the extra `cli`; in a clone:",
        ),
    ],
    ids=["extra", "program"],
)
def test_without_the_program_the_module_says_how_to_install_it(hide: str, said: str) -> None:
    code = f"import runpy, sys; {hide}; runpy.run_module('muxpy.__main__', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"muxpy: {said} pip install '.[cli]'\n")


def test_the_constants_of_the_protocol() -> None:
    assert muxpy.MIN_EXTENSION_TYPE == 0xFFFFFEFF
    assert [code.name for code in muxpy.ErrorCode] == [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
    ]
    assert [int(code) for code in muxpy.ErrorCode] == list(range(8))


def test_errors_are_trios() -> None:
    assert issubclass(muxpy.StreamReset, trio.BrokenResourceError)
    assert issubclass(muxpy.SessionClosed, trio.BrokenResourceError)
    assert issubclass(muxpy.SessionGoingAway, muxpy.SessionClosed)
    assert issubclass(muxpy.HeartbeatLost, trio.BrokenResourceError)
    assert issubclass(muxpy.Stream, trio.abc.HalfCloseableStream)
    assert issubclass(muxpy.SessionListener, trio.abc.Listener)


def test_defaults() -> None:
    config = muxpy.SessionConfig()
    assert config.max_streams == 1024
    assert config.accept_backlog == 1024
    assert config.heartbeat_interval == 3
    assert config.heartbeat_tolerance == 10
    assert config.idle_timeout is None


def test_a_config_is_frozen_and_takes_keywords_only() -> None:
    config = muxpy.SessionConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.max_streams = 5  # type: ignore[misc]
    with pytest.raises(TypeError):
        muxpy.SessionConfig(5)  # type: ignore[call-arg]


SETTINGS = [
    field.name for field in dataclasses.fields(muxpy.SessionConfig) if field.type != "bool" and field.name != "trace"
]


@pytest.mark.parametrize("name", SETTINGS)
def test_no_setting_is_negative(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        muxpy.SessionConfig(**{name: -1})  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [0, 65535, 2**31])
def test_max_window_has_the_bounds_of_the_protocol(wrong: int) -> None:
    with pytest.raises(ValueError, match="max_window"):
        muxpy.SessionConfig(max_window=wrong)


@pytest.mark.parametrize("right", [65536, 2**31 - 1])
def test_the_bounds_themselves_are_allowed(right: int) -> None:
    assert muxpy.SessionConfig(max_window=right).max_window == right


def test_the_control_queue_needs_some_room() -> None:
    with pytest.raises(ValueError, match="max_control_frames"):
        muxpy.SessionConfig(max_control_frames=15)
    with pytest.raises(ValueError, match="max_control_bytes"):
        muxpy.SessionConfig(max_control_bytes=1023)


@pytest.mark.parametrize("wrong", [0, 0.0001])
def test_the_systems_timeout_is_none_or_at_least_a_millisecond(wrong: float) -> None:
    with pytest.raises(ValueError, match="tcp_user_timeout"):
        muxpy.SessionConfig(tcp_user_timeout=wrong)


@pytest.mark.parametrize("name", ["first_frame_timeout", "handshake_timeout", "idle_timeout", "heartbeat_interval"])
def test_zero_is_no_way_to_switch_something_off(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be more than 0; None switches it off"):
        muxpy.SessionConfig(**{name: 0})  # type: ignore[arg-type]
    assert getattr(muxpy.SessionConfig(**{name: None}), name) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "wrong", "words"),
    [
        ("max_streams", "10", "max_streams must be an integer, not '10'"),
        ("max_streams", 1.5, "an integer"),
        ("receive_budget", None, "an integer, not None"),
        ("drain_timeout", None, "a number, not None"),
        ("idle_timeout", "5", "a number or None"),
        ("accept_backlog", True, "an integer"),
        ("trace", "session.jsonl", r"trace must be callable, as TraceFile\(path\) is"),
    ],
)
def test_settings_of_a_wrong_type_are_named(name: str, wrong: object, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        muxpy.SessionConfig(**{name: wrong})  # type: ignore[arg-type]


def test_texts_of_ends() -> None:
    assert str(muxpy.SessionEnd(0, None, None, b"")) == "this side closed it"
    assert str(muxpy.SessionEnd(0, None, 0, b"", by_peer=True)) == "the peer closed it"
    assert str(muxpy.SessionEnd(99, None, None, b"")) == "it ended with error 99"
    assert str(muxpy.SessionEnd(2, OSError("cable cut"), None, b"")) == "cable cut"
    closed = muxpy.SessionClosed(muxpy.SessionEnd(2, OSError("cable cut"), None, b""))
    assert str(closed) == "the session has ended: cable cut"
    assert isinstance(closed.__cause__, OSError)
    assert not closed.retryable
    error = muxpy.ProtocolError(muxpy.ErrorCode.FRAME_SIZE_ERROR, "too long")
    assert str(error) == "FRAME_SIZE_ERROR: too long"
