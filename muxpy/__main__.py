"""`python -m muxpy` is the program `muxpy`. Without what its extra brings, that says so itself."""

import sys
from importlib.util import find_spec

if find_spec("muxpy_cli") is None:
    hint = "install muxpy-trio with the extra `cli`; in a clone: pip install '.[cli]'"
    sys.exit(f"muxpy: the program is not here: {hint}")

from muxpy_cli import main

if __name__ == "__main__":
    main()
