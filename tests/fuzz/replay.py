"""`python -m tests.fuzz.replay TARGET FILE...`: run kept inputs again, without a fuzzer.

A file is what a fuzzer wrote; a folder stands for all files in it. With TARGET alone, its corpus is run. The first
input that fails is shown with its traceback.
"""

import sys
from pathlib import Path

from .corpus import load
from .targets import find

__all__ = ["main", "replay"]


def replay(name: str, inputs: list[bytes]) -> None:
    """Run all inputs. An exception says which one failed."""
    run = find(name).load()
    for data in inputs:
        try:
            run(data)
        except Exception as error:
            error.add_note(f"target {name}, input {data.hex()}")
            raise


def main() -> None:
    """Replay what the command line names."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    name, *paths = sys.argv[1:]
    inputs = [data for path in map(Path, paths) for data in read(path)] if paths else load(name)
    replay(name, inputs)
    print(f"{name}: {len(inputs)} inputs, no failure")


def read(path: Path) -> list[bytes]:
    """One file's input, or those of all files in a folder."""
    return [file.read_bytes() for file in sorted(path.iterdir())] if path.is_dir() else [path.read_bytes()]


if __name__ == "__main__":
    main()
