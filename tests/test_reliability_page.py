"""The figures of docs/reliability.md and docs/security.md are those of the runs kept beside them."""

from tests.documented import FOLDER, PAGES, PLOT, RUNS, filled, kept


def test_the_pages_have_the_figures_of_their_runs() -> None:
    pages = [page.read_text() for page in PAGES]
    assert [filled(page, kept()) for page in pages] == pages
    assert sum(page.count("<!-- results: ") for page in pages) == len(RUNS)


def test_its_plot_is_there() -> None:
    assert (FOLDER / PLOT).stat().st_size > 10_000
