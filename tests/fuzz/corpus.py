"""The kept inputs, and `python -m tests.fuzz.corpus [TARGET...]`, which takes over what `make fuzz` has found.

A target's inputs are one text file, each a line of hexadecimal digits, short ones first: some hundreds of tiny files
would be slower to check out and no easier to read, and a text file shows by its difference what came and what went.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .running import WORK, merge
from .targets import TARGETS, find

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["load", "seeds", "unpack"]

FOLDER = Path(__file__).parent / "corpus"
VECTORS = Path(__file__).parent.parent / "data" / "muxado_v1_frames.json"
HEADER_BLOCKS = (
    "400a637573746f6d2d6b65790d637573746f6d2d686561646572",
    "040c2f73616d706c652f70617468",
    "100870617373776f726406736563726574",
    "828684418cf1e3c2e5f23a6ba0ab90f4ff",
    "203fe11f82",
)
"""Of RFC 7541, appendix C, and one with changes of the table's size."""
LONGEST = 1024
"""Bytes. A frame with a full payload tells a fuzzer no more than one with a few."""


def load(name: str) -> list[bytes]:
    """The kept inputs of a target."""
    path = FOLDER / f"{name}.txt"
    return [bytes.fromhex(line) for line in path.read_text().splitlines()] if path.exists() else []


def save(name: str, inputs: Iterable[bytes]) -> None:
    """Keep these inputs, and no others."""
    ordered = sorted(set(inputs), key=lambda data: (len(data), data))
    (FOLDER / f"{name}.txt").write_text("".join(f"{data.hex()}\n" for data in ordered))


def seeds(name: str) -> list[bytes]:
    """Where fuzzing began: frames and header blocks as others write them, for targets that take them as they are."""
    if name == "http2_hpack":
        return [bytes([len(block)]) + block for block in map(bytes.fromhex, HEADER_BLOCKS)]
    if name != "decoder":
        return []
    frames = [bytes.fromhex(vector["hex"]) for vector in json.loads(VECTORS.read_text())]
    frames = [frame for frame in frames if len(frame) < LONGEST]
    return [b"\0" + frame for frame in [*frames, b"".join(frames)[:LONGEST]]]


def unpack(inputs: Iterable[bytes], folder: Path) -> None:
    """Write inputs as files, as a fuzzer reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


def take_over(name: str) -> tuple[int, int]:
    """Put what was found with what is kept, and keep as few as reach the same branches: how many before and after."""
    before = load(name)
    with tempfile.TemporaryDirectory() as scratch:
        kept, merged = Path(scratch, "kept"), Path(scratch, "merged")
        unpack([*before, *seeds(name)], kept)
        merged.mkdir()
        merge(name, merged, [kept, WORK / name / "found"], Path(scratch))
        save(name, [path.read_bytes() for path in merged.iterdir()])
    return len(before), len(load(name))


def main() -> None:
    """Take over the inputs of the targets named, or of all."""
    for name in sys.argv[1:] or [target.name for target in TARGETS]:
        before, after = take_over(find(name).name)
        print(f"{name}: {before} inputs before, {after} now")


if __name__ == "__main__":
    main()
