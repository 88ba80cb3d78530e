"""The figures of docs/reliability.md and docs/security.md are those of the runs kept beside them."""

from tests.documented import FOLDER, PAGES, PLOT, RUNS, filled, kept


def test_the_pages_have_the_figures_of_their_runs() -> None:
    texts = [page.read_text() for page in PAGES]
    assert [filled(text, kept()) for text in texts] == texts
    assert sum(text.count("<!-- results: ") for text in texts) == len(RUNS)


def test_its_plot_is_there() -> None:
    assert (FOLDER / PLOT).stat().st_size > 10_000
