"""How the study would have counted a run: worked by hand from its two constants."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import measurement_of, run_spec, source_energy_of, source_info

from harness.footprint.accountings import accounted, assumed_power
from harness.measure.summary import summarize
from harness.records import Failure, RunRecord
from harness.specs import ReplaySpec
from harness.units import J_PER_KWH

GPU = source_info()
IDLER = source_info(id="GPU-1", runs_model=False)


def record(sources=(GPU,), **spec: Any) -> RunRecord:
    """Five windows of 10 s of work on 100 requests: 2,900 J at work on every board, as fakes.py says."""
    windows = [measurement_of(*(source_energy_of(source_id=info.id) for info in sources))] * 5
    return RunRecord(
        run_id="r",
        campaign="tests",
        origin="simulated",
        spec=run_spec(**spec),
        environment=None,
        started_at_utc="2025-01-01T00:00:00+00:00",
        finished_at_utc="2025-01-01T00:01:00+00:00",
        status="complete",
        sources=sources,
        measurements=tuple(windows),
        summary=summarize(windows, sources, "no meter", 0.02),
    )


def test_the_constants_are_those_of_the_study_s_files() -> None:
    assert assumed_power("study-2023", "cpu").power_w == 42.5
    assert assumed_power("study-2023", "memory").power_w == pytest.approx(1148.738 * 3 / 8)


def test_every_gpu_and_two_constants_times_the_engine_s_time() -> None:
    # 0.1 s and 29 J a request and board: 58 J + 4.25 J + 43.077675 J
    found = accounted(record((GPU, IDLER)), "study-2023")
    assert found is not None
    assert found.energy_kwh_per_1000.value * J_PER_KWH / 1000 == pytest.approx(105.327675)
    assert found.gpus_kwh_per_1000 * J_PER_KWH / 1000 == pytest.approx(58.0)
    assert found.cpu_kwh_per_1000 * J_PER_KWH / 1000 == pytest.approx(4.25)
    assert found.memory_kwh_per_1000 * J_PER_KWH / 1000 == pytest.approx(43.077675)
    assert found.boundary == "node: all 2 GPUs, CPU and memory assumed"


def test_the_interval_is_that_of_the_gpus() -> None:
    one = record()
    assert one.summary is not None
    found = accounted(one, "study-2023")
    assert found is not None
    joules = one.summary.node_gpus_energy_j
    assert found.energy_kwh_per_1000.half_width * J_PER_KWH / 1000 == pytest.approx(joules.half_width)


def test_a_replay_leaves_out_what_the_study_s_meter_did_not_charge() -> None:
    replay = ReplaySpec(
        study="study-2023",
        dataset="wikitext",
        runs=10,
        duration_s=0.1,
        active_gpu_w=200.0,
        idle_gpu_w=60.0,
        memory_unmetered_s=0.02,
        node_energy_j=100.0,
        node_scatter_j=1.0,
    )
    plain, replayed = accounted(record(), "study-2023"), accounted(record(replay=replay), "study-2023")
    assert plain is not None
    assert replayed is not None
    less_j = (plain.memory_kwh_per_1000 - replayed.memory_kwh_per_1000) * J_PER_KWH / 1000
    assert less_j == pytest.approx(0.02 * 430.77675)
    assert replayed.cpu_kwh_per_1000 == plain.cpu_kwh_per_1000


def test_a_failed_run_has_no_accounting() -> None:
    failed = record().model_copy(
        update={"status": "failed", "summary": None, "failure": Failure(kind="x", message="y", phase="z")}
    )
    assert accounted(failed, "study-2023") is None
