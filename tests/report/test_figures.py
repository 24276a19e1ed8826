"""The page of a phase fit: self-contained, marked, and with every run in it."""

from __future__ import annotations

from itertools import product

import pytest
from phase_records import record_of_batch

from harness.errors import StoreError
from harness.measure.phases import fit_phases
from harness.report.figures import figure_title, phases_figure, write_phases_page


def fit_of(model: str = "some/<b>model</b>"):
    return fit_phases(
        [
            record_of_batch(1 + 0.01 * b * i + 2 * n, b, i, n, model={"id": model})
            for b, i, n in product((1, 4), (8, 64), (2, 20))
        ]
    )


def test_figure_holds_measured_fitted_and_residual_of_every_run():
    fit = fit_of()
    figure = phases_figure(fit)
    line, measured, residuals = figure.data
    assert [(shape.y0, shape.y1) for shape in figure.layout.shapes] == [(-2, 2)]
    assert list(measured.y) == [run.energy_j for run in fit.runs]
    assert list(measured.x) == [run.fitted_j for run in fit.runs]
    assert list(residuals.y) == [run.residual_u for run in fit.runs]
    assert list(line.x) == list(line.y)
    assert "SIMULATED" in figure_title(fit)


def test_page_needs_nothing_from_the_network_and_escapes_names(tmp_path):
    path = tmp_path / "page.html"
    write_phases_page([fit_of(), fit_of("other")], path)
    page = path.read_text(encoding="utf-8")
    assert 'src="http' not in page
    assert "SIMULATED" in page
    assert "<b>model</b>" not in page
    assert page.count("Plotly.newPlot(") >= 2


def test_a_page_that_cannot_be_written_says_so(tmp_path):
    with pytest.raises(StoreError, match="Cannot write"):
        write_phases_page([fit_of()], tmp_path / "no" / "page.html")
