"""`muxpy demo`: real traffic through a forwarded port, between processes, with every byte checked."""

from ._run import run_demo

__all__ = ["run_demo"]
