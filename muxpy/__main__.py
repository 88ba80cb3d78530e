"""`python -m muxpy` is the program `muxpy`, where that is installed."""

import sys
from importlib.util import find_spec

if find_spec("muxpy_cli") is None or find_spec("click") is None:
    sys.exit("muxpy: the program needs the extra `cli`: pip install 'muxpy-trio[cli]', or '.[cli]' in a clone")

from muxpy_cli import main

if __name__ == "__main__":
    main()
