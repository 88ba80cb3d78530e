"""How fast a session is: throughput, latency and new streams between its two ends, without targets behind them.

Each stream of purpose BENCH does one job. The connecting end's first message asks for it:

    {"test": "download", "seconds": 3.0, "warm_up": 0.3, "bytes": 1000}
                                    {}, then the pattern until the time or the bytes are over, then the end
    {"test": "upload", "seconds": 3.0, "warm_up": 0.3}, then the pattern, for as long as the answer does not come
                                    {"bytes": 900, "from": 17.3, "to": 20.3} once the time is over or the stream ended:
                                    what came after the warm-up, and when by the listening end's clock, in seconds
    {"test": "echo"} and {"test": "open"}
                                    {}, then all that comes, back, until the stream ends

`seconds` and `warm_up` together are at most MAX_SECONDS, which is also the default; `bytes` is optional. The receiver
counts, and compares each byte with the pattern that both ends know: a figure for wrong data would be worth nothing.
"""

from ._measures import run_bench
from ._plan import Amount, Measure, Plan, Progress, Step
from ._protocol import MAX_SECONDS
from ._results import BenchResult, Latency, Throughput
from ._serve import serve_bench
from ._show import BenchDisplay, result_table

__all__ = [
    "MAX_SECONDS",
    "Amount",
    "BenchDisplay",
    "BenchResult",
    "Latency",
    "Measure",
    "Plan",
    "Progress",
    "Step",
    "Throughput",
    "result_table",
    "run_bench",
    "serve_bench",
]
