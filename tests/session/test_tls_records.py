"""Where TLS records begin, in bytes that come cut anywhere."""

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from muxpy.transport._tls import RecordCutter

sizes = st.lists(st.integers(0, 30), min_size=1, max_size=20)


@given(sizes, st.lists(st.integers(1, 40), max_size=40), st.integers(1, 5))
def test_each_cut_has_so_many_beginnings(sizes: list[int], pieces: list[int], most: int) -> None:
    data = b"".join(b"\x17\x03\x03" + size.to_bytes(2, "big") + b"\xff" * size for size in sizes)
    begins = [0, *accumulate(5 + size for size in sizes)][:-1]
    cutter = RecordCutter()
    taken = 0
    for stop in [*accumulate(pieces), len(data)]:
        view = memoryview(data[taken:stop])
        while view:
            before = cutter.started
            size = cutter.cut(view, most)
            begun = sum(taken <= begin < taken + size for begin in begins)
            assert cutter.started - before == begun <= most
            assert size == len(view) or (begun == most and taken + size in begins)  # it stops where the next begins
            taken += size
            view = view[size:]
    assert taken == len(data)
    assert cutter.started == len(sizes)
