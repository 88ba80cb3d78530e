"""What iperf3 and wrk print, as they printed it once, becomes figures, or an error that says what went wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.workloads._base import WorkloadError
from benchmarks.workloads.programs import iperf3_figures, wrk_figures

DATA = Path(__file__).parent / "data"


def printed(name: str) -> str:
    return (DATA / name).read_text()


@pytest.mark.parametrize(
    ("name", "bits", "seconds"),
    [("iperf3.json", 27597750249.04, 1.006867), ("iperf3-reverse.json", 34368919404.90, 1.00016)],
)
def test_the_rate_of_iperf3_is_that_of_its_receiver(name: str, bits: float, seconds: float) -> None:
    assert iperf3_figures(printed(name)) == {"rate": pytest.approx(bits / 8), "elapsed": seconds}


def test_the_receivers_rate_is_not_the_senders() -> None:
    report = json.loads(printed("iperf3.json"))
    report["end"]["sum_sent"]["bits_per_second"] *= 2

    assert iperf3_figures(json.dumps(report)) == iperf3_figures(printed("iperf3.json"))


def test_an_error_of_iperf3_fails_the_run() -> None:
    with pytest.raises(WorkloadError, match=r"^iperf3: unable to connect to server: Connection refused$"):
        iperf3_figures(printed("iperf3-refused.json"))


def test_an_error_beside_figures_of_iperf3_fails_the_run() -> None:
    report = {**json.loads(printed("iperf3.json")), "error": "the server has terminated"}

    with pytest.raises(WorkloadError, match=r"^iperf3: the server has terminated$"):
        iperf3_figures(json.dumps(report))


def test_iperf3_without_a_byte_received_fails_the_run() -> None:
    report = json.loads(printed("iperf3.json"))
    report["end"]["sum_received"]["bytes"] = 0

    with pytest.raises(WorkloadError, match="nothing was received"):
        iperf3_figures(json.dumps(report))


@pytest.mark.parametrize("output", ["", "iperf3: error", '{"start": '])
def test_iperf3_without_a_report_fails_the_run(output: str) -> None:
    with pytest.raises(WorkloadError, match="iperf3 did not report"):
        iperf3_figures(output)


@pytest.mark.parametrize(
    ("name", "rate", "p50", "p99"),
    [("wrk.txt", 87981.40, 558e-6, 726e-6), ("wrk-close.txt", 23273.75, 789e-6, 2.16e-3)],
)
def test_wrk_gives_its_rate_and_latencies_in_seconds(name: str, rate: float, p50: float, p99: float) -> None:
    assert wrk_figures(printed(name)) == pytest.approx({"rate": rate, "p50": p50, "p99": p99})


@pytest.mark.parametrize(("text", "seconds"), [("1.50s", 1.5), ("2.00m", 120.0)])
def test_wrk_may_have_waited_long(text: str, seconds: float) -> None:
    assert wrk_figures(printed("wrk.txt").replace("726.00us", text))["p99"] == seconds


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("wrk-not-found.txt", "wrk: Non-2xx or 3xx responses: 37429"),
        ("wrk-socket-errors.txt", "wrk: Socket errors: connect 0, read 22007, write 0, timeout 0"),
    ],
)
def test_an_error_that_wrk_counted_fails_the_run(name: str, complaint: str) -> None:
    with pytest.raises(WorkloadError, match=f"^{complaint}$"):
        wrk_figures(printed(name))


def test_wrk_without_an_answer_fails_the_run() -> None:
    output = printed("wrk.txt").replace("87981.40", "0.00")

    with pytest.raises(WorkloadError, match="no request was answered"):
        wrk_figures(output)


@pytest.mark.parametrize("cut", ["Requests/sec", "     99%"])
def test_wrk_without_a_report_fails_the_run(cut: str) -> None:
    with pytest.raises(WorkloadError, match="wrk did not report"):
        wrk_figures(printed("wrk.txt").partition(cut)[0])
