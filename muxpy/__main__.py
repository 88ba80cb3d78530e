"""`python -m muxpy` is the program `muxpy`. If the packages of its extra are missing, the program itself says so."""

import sys
from importlib.util import find_spec

if find_spec("muxpy_cli") is None:
    hint = "install muxpy-trio with the extra `cli`; in a clone: pip install '.[cli]'"
    sys.exit(f"muxpy: the program is not installed: {hint}")

from muxpy_cli import main

if __name__ == "__main__":
    main()
