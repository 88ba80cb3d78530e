"""docs/performance.md says what its samples say."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.document import FOLDER, PAGE, filled, joined, load, main
from benchmarks.measures import GROUPS


def test_no_figure_of_the_page_was_typed_by_hand() -> None:
    page = PAGE.read_text()
    results = json.loads((FOLDER / "results.json").read_text())
    assert filled(page, results) == page


def test_the_page_has_a_place_for_every_group() -> None:
    places = re.findall(r"<!-- results: ([a-z]+) -->", PAGE.read_text())
    assert sorted(places) == sorted(["machine", *GROUPS])


def test_the_samples_are_of_a_whole_run() -> None:
    outcomes = load(json.loads((FOLDER / "results.json").read_text()))
    assert {outcome.measure.group for outcome in outcomes} == set(GROUPS)
    for outcome in outcomes:
        assert not outcome.failed
        assert set(outcome.samples) | set(outcome.missing) == {entry.name for entry in outcome.measure.entries}


def test_every_plot_of_the_page_is_there() -> None:
    plots = re.findall(r"\(performance/([a-z]+\.svg)\)", PAGE.read_text())
    assert plots
    assert sorted(plots) == sorted(path.name for path in FOLDER.glob("*.svg"))


def test_a_part_of_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = json.loads((FOLDER / "results.json").read_text())
    results["measures"] = results["measures"][1:]
    (tmp_path / "results.json").write_text(json.dumps(results))
    before = PAGE.read_text()
    assert main([str(tmp_path)]) == 2
    assert "not a whole run, 1 measures are missing: bulk, 64 KiB writes, 1 stream" in capsys.readouterr().err
    assert PAGE.read_text() == before


def test_a_later_run_of_a_group_takes_the_place_of_its_figures() -> None:
    whole = json.loads((FOLDER / "results.json").read_text())
    machine = {**whole["machine"], "date": "later"}
    part = {
        "machine": machine,
        "options": {"rounds": 2, "seconds": 0.5},
        "measures": [dict(each) for each in whole["measures"]],
    }
    part["measures"] = [{**each, "samples": {}} for each in part["measures"] if each["group"] == "http"]

    results = joined(whole, part)

    assert [each["name"] for each in results["measures"]] == [each["name"] for each in whole["measures"]]
    assert {each["group"] for each in results["measures"] if not each["samples"]} == {"http"}
    assert results["machine"]["date"] == whole["machine"]["date"]
    assert results["machine"]["date of http"] == "later (2 rounds of 0.5 s)"
    assert results["options"] == whole["options"]


def test_a_changed_sample_changes_the_page() -> None:
    page = PAGE.read_text()
    results = json.loads((FOLDER / "results.json").read_text())
    for sample in results["measures"][0]["samples"]["muxpy"]:
        sample["rate"] *= 2
    assert filled(page, results) != page
