"""The fuzz targets: functions that take bytes and raise only if something is wrong. None of them needs a fuzzer."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

__all__ = ["CANARY", "TARGETS", "Target", "find"]


@dataclass(frozen=True)
class Target:
    """One target: the module of this package that has its `run`."""

    name: str
    max_len: int
    """Bytes of the longest input that is tried: longer ones only take longer."""

    def load(self) -> Callable[[bytes], None]:
        """Import it. Not sooner: a fuzzer must prepare muxpy's modules before they are imported."""
        run: Callable[[bytes], None] = import_module(f"tests.fuzz.{self.name}").run
        return run


TARGETS = (
    Target("decoder", 512),
    Target("connection", 512),
    Target("cuts", 256),
    Target("pair", 384),
    Target("http2_frames", 512),
    Target("http2_hpack", 512),
    Target("http2_connection", 512),
    Target("http2_cuts", 256),
    Target("http2_pair", 384),
    Target("rpc_answers", 128),
    Target("rpc_calls", 128),
)
"""What is fuzzed."""

CANARY = Target("canary", 16)
"""Fails on purpose, to test what finds failures."""


def find(name: str) -> Target:
    """The target of a name; raises LookupError."""
    for target in (*TARGETS, CANARY):
        if target.name == name:
            return target
    raise LookupError(f"no target is called {name!r}; there are {', '.join(target.name for target in TARGETS)}")
