"""What a plan will take, worked out by hand from its settings and from records of the same kind."""

from __future__ import annotations

from typing import Any

import pytest
from campaigns import a_complete_run, spec_of

from harness.records import RunRecord
from harness.run.estimate import by_settings_s, estimate, total
from harness.specs import MeasureSpec, SourcesSpec

ON_A_GPU = spec_of().model_copy(update={"sources": SourcesSpec(), "timeout_s": 1000.0})
SETTINGS = MeasureSpec(
    window_s=4.0,
    null_window_s=2.0,
    idle_s=3.0,
    settle_s=2.0,
    warm_up_block_s=2.0,
    warm_up_max_s=60.0,
    min_repeats=5,
    max_repeats=20,
    max_duration_s=1800.0,
)


def record(seconds: int, power_w: float, **spec: Any) -> RunRecord:
    measured = a_complete_run()[0]
    assert measured.summary is not None
    (idle, other) = measured.idle
    return measured.model_copy(
        update={
            "spec": ON_A_GPU.model_copy(update=spec),
            "origin": "measured",
            "started_at_utc": "2026-01-01T00:00:00+00:00",
            "finished_at_utc": f"2026-01-01T00:{seconds // 60:02}:{seconds % 60:02}+00:00",
            "idle": (idle.model_copy(update={"null_w": 60.0}), other),
            "summary": measured.summary.model_copy(update={"power_w": power_w}),
        }
    )


def test_settings_bound_the_time_without_loading() -> None:
    # Idle 2 x 3 + settle 2 + first null 2 = 10 s. A block with its rest: 2 x (1 + 2/4) = 3 s.
    # Least: two blocks, five windows of 4 + 2. Most: 60 s and one block more, twenty of 4 + 2 + 0.5.
    assert by_settings_s(SETTINGS) == pytest.approx((10 + 6 + 30, 10 + 63 + 130))
    # A budget of 20 s ends after four windows of 6 s at the earliest and one begun within it at the latest.
    assert by_settings_s(SETTINGS.model_copy(update={"max_duration_s": 20.0})) == pytest.approx((40, 10 + 63 + 26.5))
    # How long a fixed number of requests takes is not known: at least its rests, at most the budget and one window.
    fixed = SETTINGS.model_copy(update={"requests_per_window": 8})
    assert by_settings_s(fixed) == pytest.approx((10 + 6 + 10, 10 + 63 + 1800 + 2.5))


def test_earlier_runs_of_the_kind_tell_time_and_power_and_what_nobody_knows_is_none() -> None:
    spec = ON_A_GPU.model_copy(update={"measure": SETTINGS})
    alone = estimate(spec, [])
    assert (alone.duration_s, alone.gpu_energy_j) == (pytest.approx((46, 203)), None)
    assert not alone.simulated

    # Same settings, another batch: 80 and 100 s, with a quarter's allowance. 60 W at rest, up to 300 W at work.
    kin = [record(80, 200.0, measure=SETTINGS, batch_size=2), record(100, 300.0, measure=SETTINGS)]
    known = estimate(spec, kin)
    assert known.duration_s == pytest.approx((60, 125))
    assert known.gpu_energy_j == pytest.approx((60 * 60, 300 * 125))
    assert known.duration_from == "2 earlier runs"
    # Other settings: only the power is told by them. Another model: nothing.
    longer = estimate(spec.model_copy(update={"measure": SETTINGS.model_copy(update={"idle_s": 13.0})}), kin)
    assert longer.duration_s == pytest.approx((66, 223))
    assert longer.gpu_energy_j == pytest.approx((60 * 66, 300 * 223))
    assert estimate(spec.model_copy(update={"model": spec_of("other").model}), kin).gpu_energy_j is None

    # A simulated board: its own idle power and limit (A100: 60 and 400 W), on its own clock.
    virtual = estimate(spec_of(measure=SETTINGS), [])
    assert virtual.duration_s is None
    assert virtual.gpu_energy_j == pytest.approx((60 * 46, 400 * 203))
    assert virtual.simulated
    assert total([known.duration_s, None, alone.duration_s]) == (pytest.approx((106, 328)), 1)
    assert total([None, None]) == (None, 2)
