"""One row per run, from joules per generation to kilowatt-hours per thousand and what they equal."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from fakes import measurement_of, run_spec, source_energy_of, source_info
from rich.console import Console

from harness.cli.tables import print_results
from harness.errors import UserInputError
from harness.measure.run_caveats import all_caveats
from harness.measure.summary import summarize
from harness.records import Caveat, Failure, RunRecord, WorkCounts
from harness.report.results import Editions, ResultRow, caveat_lines, result_row, told_apart_by

EDITIONS = Editions(phone="epa-current", car="epa-current", grid="usa-2023")
GPU = source_info(device_name="NVIDIA A100-SXM4-80GB")
IDLER = source_info(id="GPU-1", runs_model=False)


def record_of(*measurements, sources=(GPU,), host_missing: str | None = "no meter", **changes: Any) -> RunRecord:
    """A complete run; without windows a failed one."""
    content: dict[str, Any] = {
        "run_id": run_spec().run_id,
        "campaign": "tests",
        "origin": "simulated",
        "spec": run_spec(batch_size=4),
        "environment": None,
        "started_at_utc": "2025-01-01T00:00:00+00:00",
        "finished_at_utc": "2025-01-01T00:01:00+00:00",
        "status": "complete" if measurements else "failed",
        "sources": sources,
        "measurements": measurements,
        "summary": summarize(measurements, sources, host_missing, 0.02) if measurements else None,
        "failure": None if measurements else Failure(kind="timeout", message="It took too long.", phase="measure"),
    }
    return RunRecord.model_validate(content | changes)


def row_of(*measurements, **changes: Any) -> ResultRow:
    return result_row(record_of(*measurements, **changes), EDITIONS)


def value(estimate) -> float:
    assert estimate is not None
    return estimate.value


# --- numbers ---


def test_joules_per_generation_become_kilowatt_hours_per_thousand():
    # 29 J each, 29 kJ a thousand, 29 000 / 3 600 000 kWh
    row = row_of(*[measurement_of()] * 5)
    assert value(row.energy_kwh_per_1000) == pytest.approx(29 / 3600)
    assert value(row.idle_kwh_per_1000) == pytest.approx(5 / 3600)
    assert value(row.above_idle_kwh_per_1000) == pytest.approx(24 / 3600)
    assert value(row.repeatability_kwh_per_1000) == pytest.approx(29 / 3600)
    assert (row.windows, row.generations) == (5, 500)
    assert row.duration_s == pytest.approx(0.1)
    assert row.power_w == pytest.approx(290.0)


def test_interval_is_converted_with_its_value():
    record = record_of(*[measurement_of()] * 5)
    assert record.summary is not None
    joules, kwh = record.summary.gpu_energy_j, result_row(record, EDITIONS).energy_kwh_per_1000
    assert kwh is not None
    assert kwh.half_width / kwh.value == pytest.approx(joules.half_width / joules.value)
    assert (kwh.n, kwh.confidence, kwh.method) == (joules.n, joules.confidence, joules.method)


def test_what_a_thousand_generations_equal_worked_by_hand():
    # 0.0080556 kWh: / 0.019 kWh a charge; * 369.473 g a kWh; / 393 g a mile
    equal = row_of(*[measurement_of()] * 5).equivalents_per_1000
    assert equal is not None
    assert equal.phone_charges == pytest.approx(29 / 3600 / 0.019)
    assert equal.carbon_g_co2e == pytest.approx(29 / 3600 * 369.473)
    assert equal.car_miles == pytest.approx(29 / 3600 * 369.473 / 393)
    charges = equal.intervals["phone_charges"]
    assert charges.low < equal.phone_charges < charges.high


def test_energy_per_token_and_per_image_name_their_unit():
    text = row_of(*[measurement_of()] * 5)
    assert text.unit == "token"
    assert value(text.energy_j_per_unit) == pytest.approx(2.9)
    image = row_of(*[measurement_of(work=WorkCounts(requests=100, images=100))] * 5)
    assert image.unit == "image"
    assert value(image.energy_j_per_unit) == pytest.approx(29.0)


def test_noise_around_nothing_has_no_equivalent():
    windows = [measurement_of(source_energy_of(energy_j=energy_j)) for energy_j in (95.0, 100.0, 99.0)]
    row = row_of(*windows)
    assert value(row.energy_kwh_per_1000) < 0
    assert row.equivalents_per_1000 is None


def test_interval_that_reaches_below_zero_is_cut_there():
    windows = [measurement_of(source_energy_of(energy_j=energy_j)) for energy_j in (100.0, 105.0, 101.0)]
    equal = row_of(*windows).equivalents_per_1000
    assert equal is not None
    assert equal.intervals["phone_charges"].low == 0.0


def test_simulated_run_carries_its_truth():
    windows = [measurement_of(source_energy_of(true_busy_energy_j=2800.0))] * 5
    assert row_of(*windows).true_energy_kwh_per_1000 == pytest.approx(28 / 3600)
    assert row_of(*[measurement_of()] * 5).true_energy_kwh_per_1000 is None


# --- boundaries ---


@pytest.mark.parametrize(
    ("sources", "boundary"),
    [
        ((GPU,), "1 of 1 GPU"),
        ((GPU, IDLER), "1 of 2 GPUs"),
        ((GPU, source_info(id="GPU-1")), "2 of 2 GPUs"),
        ((GPU, source_info(id="cpu", kind="cpu", runs_model=False)), "1 of 1 GPU"),
    ],
)
def test_boundary_says_how_many_boards_are_counted(sources, boundary):
    energies = [source_energy_of(source_id=info.id) for info in sources]
    row = row_of(*[measurement_of(*energies)] * 5, sources=sources)
    assert row.boundary == boundary
    assert row.gpu == "NVIDIA A100-SXM4-80GB"


def test_node_energy_is_there_only_where_all_of_it_is_metered():
    energies = [source_energy_of(), source_energy_of(source_id="GPU-1", energy_j=400.0, gap_energy_j=0.0)]
    windows = [measurement_of(*energies)] * 5
    part = row_of(*windows, sources=(GPU, IDLER))
    assert value(part.node_gpus_kwh_per_1000) == pytest.approx(33 / 3600)
    assert part.node_kwh_per_1000 is None
    assert part.node_missing == "no meter"
    whole = row_of(*windows, sources=(GPU, IDLER), host_missing=None)
    assert value(whole.node_kwh_per_1000) == pytest.approx(33 / 3600)
    assert whole.node_missing is None


def test_simulated_energy_is_marked():
    assert row_of(*[measurement_of()] * 5).simulated
    assert not row_of(*[measurement_of()] * 5, origin="measured").simulated


# --- failures ---


def test_failed_run_has_a_reason_and_no_number():
    row = row_of()
    assert row.status == "failed"
    assert row.failure == "It took too long."
    assert row.energy_kwh_per_1000 is None
    assert row.equivalents_per_1000 is None
    assert (row.model, row.batch_size) == ("assumed/small-text", 4)


def test_run_that_opened_no_source_has_no_board():
    row = row_of(sources=())
    assert row.gpu is None
    assert row.boundary is None


def test_edition_that_does_not_exist_is_an_error():
    record = record_of(*[measurement_of()] * 5)
    with pytest.raises(UserInputError, match="atlantis"):
        result_row(record, EDITIONS.model_copy(update={"grid": "atlantis"}))


# --- caveats ---

WARM = Caveat(code="not-steady", message="Warm-up ended after 60 s.")
SLOW = Caveat(code="throttled", message="It ran at its power limit in 10% of the samples.")
SLOWER = Caveat(code="throttled", message="It ran at its power limit in 20% of the samples.")


def test_caveats_of_run_and_windows_come_together_once_each():
    record = record_of(
        measurement_of(caveats=(SLOW,)),
        measurement_of(caveats=(SLOWER, WARM)),
        *[measurement_of()] * 3,
        caveats=(WARM,),
    )
    assert [caveat.code for caveat in all_caveats(record)] == ["not-steady", "throttled"]


def test_what_the_scatter_of_windows_shows_is_no_caveat_of_the_run():
    beat = Caveat(code="beat-not-excluded", message="The window holds 4 batches.", window_only=True)
    record = record_of(measurement_of(caveats=(beat, SLOW)), *[measurement_of(caveats=(beat,))] * 4)
    assert [caveat.code for caveat in all_caveats(record)] == ["throttled"]


def test_caveat_lines_count_runs_and_not_windows():
    rows = [
        row_of(*[measurement_of(caveats=(SLOW,))] * 5),
        row_of(*[measurement_of()] * 5, caveats=(WARM,)),
        row_of(*[measurement_of(caveats=(SLOWER,))] * 5, caveats=(WARM,)),
    ]
    assert caveat_lines(rows) == [("throttled", 2, SLOW.message), ("not-steady", 2, WARM.message)]


def test_runs_of_one_task_are_told_apart_by_what_they_differ_in_and_nothing_else():
    text = [
        row_of(*[measurement_of()] * 5, spec=run_spec(**changes), run_id=str(changes))
        for changes in (
            {"text": {"new_tokens": 10}},
            {"text": {"new_tokens": 50}},
            {"text": {"new_tokens": 10}, "prompts": {"max_words": 8}},
        )
    ]
    image = [
        row_of(
            *[measurement_of(work=WorkCounts(requests=100, images=100))] * 5,
            spec=run_spec(task="text-to-image", text=None, image={"steps": 4, "width": width}),
            run_id=f"image {width}",
        )
        for width in (64, 512)
    ]
    assert told_apart_by([*text, *image]) == ("max words", "new tokens", "image size")
    assert told_apart_by([text[0], image[0]]) == ()  # steps say nothing of texts
    assert [row.settings["image size"] for row in image] == ["64 x 512", "512 x 512"]
    shown = io.StringIO()
    print_results([*text, *image], Console(file=shown, width=200))
    assert re.search(r"batch ┃ max words ┃ new tokens ┃ image size ┃ +kWh per 1,000", shown.getvalue())
    assert re.search(r"│ *1 │ *8 │ *10 │ *│", shown.getvalue())
    plain = io.StringIO()
    print_results([text[0], image[0]], Console(file=plain, width=200))
    assert re.search(r"batch ┃ +kWh per 1,000", plain.getvalue())  # one table, as ever


def test_runs_without_caveats_have_no_lines():
    assert caveat_lines([row_of(*[measurement_of()] * 5)]) == []


def test_row_survives_json():
    row = row_of(*[measurement_of()] * 5, caveats=(WARM,))
    assert ResultRow.model_validate_json(row.model_dump_json()) == row
