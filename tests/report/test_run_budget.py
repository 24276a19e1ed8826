"""The budget of a run's figure, worked by hand from its windows."""

from __future__ import annotations

import math

import pytest
from fakes import measurement_of, source_energy_of, source_info

from harness.measure.summary import summarize
from harness.records import RunRecord
from harness.report.uncertainty import RunBudget, run_budget


def record_of(*windows, sources=None, **changes) -> RunRecord:
    from fakes import run_spec

    sources = sources or (source_info(),)
    content = {
        "run_id": "any",
        "campaign": "any",
        "origin": "simulated",
        "spec": run_spec(),
        "environment": None,
        "started_at_utc": "2026-11-24T12:00:00+00:00",
        "finished_at_utc": "2026-11-24T12:01:00+00:00",
        "status": "complete",
        "sources": sources,
        "measurements": windows,
        "summary": summarize(windows, sources, "no host", 0.02),
    }
    return RunRecord.model_validate(content | changes)


def budget_of(*windows, **changes) -> RunBudget:
    budget = run_budget(record_of(*windows, **changes))
    assert budget is not None
    return budget


def line(budget: RunBudget, term: str):
    (found,) = [line for line in budget.lines if line.term == term]
    return found


def windows_of(*energies_j: float):
    return [measurement_of(source_energy_of(energy_j=energy_j + 100.0)) for energy_j in energies_j]


def test_shared_terms_are_not_averaged():
    budget = budget_of(*windows_of(2900.0, 2900.0, 2900.0, 2900.0))
    # 29 J per generation, gain known to 1 %; 10 s at 0.5 W over 100 generations.
    assert line(budget, "sensor gain").standard_uncertainty_j == pytest.approx(0.29)
    assert line(budget, "sensor offset").standard_uncertainty_j == pytest.approx(0.05)
    assert line(budget, "sensor gain").kind == "per board"


def test_terms_of_a_window_shrink_with_the_number_of_windows():
    budget = budget_of(*windows_of(2900.0, 2900.0, 2900.0, 2900.0))
    # 6 J over 100 generations, four windows: 0.06 / sqrt(4).
    assert line(budget, "window edges").standard_uncertainty_j == pytest.approx(0.03)
    assert line(budget, "window edges").counted
    assert not line(budget, "scatter of the repeats").counted


def test_scatter_counts_where_it_is_larger():
    budget = budget_of(*windows_of(2800.0, 3000.0, 2800.0, 3000.0))
    # sd of 28, 30, 28, 30 is 1.1547; over sqrt(4) 0.577.
    assert line(budget, "scatter of the repeats").standard_uncertainty_j == pytest.approx(0.57735, rel=1e-4)
    assert line(budget, "scatter of the repeats").counted
    assert not line(budget, "window edges").counted


@pytest.mark.parametrize("energies_j", [(2900.0, 2900.0, 2900.0), (2800.0, 3000.0, 2850.0)])
def test_counted_lines_make_up_the_combined_uncertainty(energies_j):
    budget = budget_of(*windows_of(*energies_j))
    counted = [line.standard_uncertainty_j for line in budget.lines if line.counted]
    # Not to the last digit: the summary combines gain and offset in each window, the table over all of them.
    assert math.hypot(*counted) == pytest.approx(budget.standard_uncertainty_j, rel=1e-4)


def test_gain_of_two_boards_adds_up():
    boards = (source_info(), source_info(id="GPU-1"))
    windows = [measurement_of(source_energy_of(), source_energy_of(source_id="GPU-1")) for _ in range(3)]
    budget = budget_of(*windows, sources=boards)
    assert line(budget, "sensor gain").standard_uncertainty_j == pytest.approx(2 * 0.29)
    assert line(budget, "window edges").standard_uncertainty_j == pytest.approx(math.sqrt(2) * 0.06 / math.sqrt(3))
    assert len(budget.sensors) == 2


def test_rejected_windows_do_not_enter():
    windows = windows_of(2900.0, 2900.0, 2900.0, 2900.0, 2900.0)
    stray = measurement_of(source_energy_of(energy_j=9000.0), rejected=True)
    budget = budget_of(*windows, stray)
    assert line(budget, "sensor gain").standard_uncertainty_j == pytest.approx(0.29)
    assert (budget.windows, budget.rejected_windows) == (5, 1)


def test_what_is_known_of_the_sensor_is_told():
    info = source_info(sensor_period_s=0.1, sensor_window_s=0.025, gain_relative_u=0.05 / math.sqrt(3))
    windows = [measurement_of(source_energy_of(effective_samples=n)) for n in (50.0, 70.0, 60.0)]
    (sensor,) = budget_of(*windows, sources=(info,)).sensors
    assert sensor.undersampled_fraction == pytest.approx(0.75)
    assert sensor.effective_samples == 60.0
    assert sensor.gain_source.startswith("not calibrated")
    (known,) = budget_of(*windows).sensors
    assert known.gain_source == "calibrated, ±1.0% standard uncertainty"


def test_run_without_a_figure_has_no_budget():
    failure = {"kind": "any", "message": "any", "phase": "load"}
    failed = record_of(*windows_of(2900.0, 2900.0), status="failed", summary=None, failure=failure)
    assert run_budget(failed) is None
