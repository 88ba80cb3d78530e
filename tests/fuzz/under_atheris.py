"""`python -m tests.fuzz.under_atheris TARGET [options and folders of libFuzzer]`: one target under atheris."""

import os
import sys

import atheris

from .running import PROGRAM
from .targets import find

__all__ = ["main"]

COVERED = ["muxpy.frame", "muxpy.proto", "muxpy.rpc", "muxpy._codes"]
"""Whose branches guide the fuzzer: what the targets test, and not what they consist of."""


def main() -> None:
    """Fuzz until libFuzzer's options say that it is enough, or an input fails."""
    target = find(sys.argv[1])
    with atheris.instrument_imports(include=COVERED):
        run = target.load()
    atheris.Setup(
        [os.environ.get(PROGRAM, sys.argv[0]), f"-max_len={target.max_len}", "-len_control=20", *sys.argv[2:]], run
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
