"""The published study from its raw data, where that is present: tables, the shipped aggregate, claims."""

from __future__ import annotations

from importlib.resources import files

import pytest
from codecarbon_files import STUDY

from harness.study.accounting import study_accounting
from harness.study.catalog import TASKS
from harness.study.claims import study_claims
from harness.study.models import REFERENCE, model_figures, reference_csv
from harness.study.runs import load_study
from harness.study.tables import study_tables


@pytest.fixture(scope="module")
def study():
    if not STUDY.is_dir():
        pytest.skip("../shared/data/study is not here")
    return load_study(STUDY)


def test_all_ten_means_of_table_2_agree_to_their_printed_digits(study):
    tables = study_tables(study)
    assert list(tables.table2) == list(TASKS)
    assert all(row.agrees and (row.runs, row.models) == (240, 8) for row in tables.table2.values())
    assert all(row.sd_agrees != "no" for row in tables.table2.values())
    assert all("no" not in (row.kwh_agrees, row.g_co2e_agrees) for row in tables.table3.values())
    assert tables.table2["text-to-image"].mean_kwh == pytest.approx(2.9072, abs=5e-5)


def test_totals_and_intensity(study):
    tables = study_tables(study)
    assert (tables.totals.rows, tables.totals.runs, tables.intensity_g_per_kwh) == (13_370, 6_513, 138.75)
    assert tables.totals.energy_kwh == pytest.approx(1290.04, abs=0.005)
    assert tables.totals.gpu_energy_kwh == pytest.approx(754.66, abs=0.005)
    assert tables.totals.emissions_kg == pytest.approx(178.98, abs=0.005)


def test_rounded_energy_makes_the_printed_parity_of_the_largest_model_four_percent_too_high(study):
    row = study_tables(study).table5["bigscience/bloomz-7b1"]
    assert row.relative_difference == pytest.approx(-0.041, abs=0.001)


def test_the_aggregate_that_ships_is_what_the_command_makes(study):
    shipped = files("harness").joinpath("data", REFERENCE).read_text(encoding="utf-8")
    assert reference_csv(model_figures(study)) == shipped


def test_most_of_the_recorded_energy_is_idle_gpus_and_assumed_memory(study):
    accounting = study_accounting(study)
    for row in accounting.tasks.values():
        assert row.shares.idle_gpus + row.shares.ram_assumed > 0.7
        assert 4 < row.node_over_active < 12
        assert row.above_idle_kwh < row.active_gpu_kwh < row.fair_share_kwh < row.gpus_kwh < row.node_kwh


def test_what_is_claimed_has_the_verdict_that_the_data_gives(study):
    verdicts = {claim.id: claim for claim in study_claims(study)}
    expected = {
        "total-energy": ("only-otherwise", "total-gpus"),
        "sdxl-energy": ("only-otherwise", "sdxl-max"),
        "sdxl-carbon": ("only-otherwise", "sdxl-max-recorded-factor"),
        "sdxl-miles": ("only-otherwise", "sdxl-miles-recorded-factor"),
        "least-miles": ("never-run", "distilbert-fill-mask-miles"),
        "grid-factor": ("does-not-hold", None),
        "orders-of-magnitude": ("does-not-hold", None),
        "text-charge-2023": ("only-otherwise", "distilbert-max-charge-2023"),
        "text-charge-2024": ("only-otherwise", "distilbert-max-charge-2024"),
        "datasets": ("only-otherwise", "task-datasets"),
        "times-less": ("only-otherwise", "printed-miles-ratio"),
        "parity-3b": ("does-not-hold", None),
        "models": ("holds", None),
    }
    for name, (verdict, reading) in expected.items():
        found = [other.reading for other in verdicts[name].others if other.agrees != "no"]
        assert (verdicts[name].verdict, found[:1]) == (verdict, [reading] if reading else []), name
    # 1,290.0429 kWh at 297.6 g/kWh
    assert verdicts["total-carbon"].beside.value == pytest.approx(383.917, abs=0.01)
