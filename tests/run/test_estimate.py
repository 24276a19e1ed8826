"""What a plan will take, worked out by hand from its settings and from records of the same kind."""

from __future__ import annotations

from typing import Any

import pytest
from campaigns import a_complete_run, spec_of

from harness.engines.simulated import known_batch_s
from harness.records import RunRecord
from harness.run.estimate import BY_SETTINGS, by_settings_s, estimate, total
from harness.run.lanes import SERIAL, gpu_lanes
from harness.specs import MeasureSpec, SourcesSpec

ON_A_GPU = spec_of().model_copy(update={"sources": SourcesSpec(), "engine": "transformers", "timeout_s": 1000.0})
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


def test_a_batch_that_is_longer_than_a_window_counts_in_whole_batches() -> None:
    # Eight images of 500 steps at four times 512 x 512: 0.004 + 8 x 0.003 + 500 x 0.0297 x 32 + 32 x 0.012 s.
    image = {"steps": 500, "width": 1024, "height": 1024}
    slow = spec_of("x", 8, task="text-to-image", text=None, image=image, measure=SETTINGS)
    batch_s = 475.612
    assert known_batch_s(slow) == pytest.approx(batch_s)
    # One block (with its rest of 1 s longer than the budget of 60 s), four windows (1,800 s are spent then) at least.
    low_s, high_s = estimate(slow, []).settings_s
    assert low_s == pytest.approx(10 + (batch_s + 1) + 4 * (batch_s + 2))
    assert high_s == pytest.approx(10 + 60 + (batch_s + 1) + 1800 + (batch_s + 2) + 0.5)
    # Another engine's batch is not known, and the estimate says what it takes for granted.
    assert known_batch_s(ON_A_GPU) is None
    assert estimate(ON_A_GPU, []).duration_from == BY_SETTINGS
    fixed = SETTINGS.model_copy(update={"requests_per_window": 20})  # three batches of 8
    assert by_settings_s(fixed, 10.0, 8) == pytest.approx((10 + 2 * 11 + 5 * 32, 10 + 60 + 11 + 20 * 32.5))


def test_runs_at_once_take_as_long_as_the_longest_of_each_round() -> None:
    first, second = (spec_of(model, gpu=0) for model in "ab")
    other = spec_of("a", gpu=1)
    lanes = gpu_lanes({spec.sources: tuple(map(str, spec.sources.gpus)) for spec in (first, second, other)})
    # GPU 0 and 1 together, then GPU 0: 30 to 50 s, then 5 to 10 s.
    assert lanes.duration_s([first, second, other], [(10.0, 50.0), (5.0, 10.0), (30.0, 40.0)]) == (35.0, 60.0)
    assert SERIAL.duration_s([first, second, other], [(10.0, 50.0), (5.0, 10.0), (30.0, 40.0)]) == (45.0, 100.0)
    assert lanes.duration_s([first, other], [None, (30.0, 40.0)]) == (30.0, 40.0)
    assert lanes.duration_s([first], [None]) is None


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

    # A simulated board: its own idle power and limit (A100: 60 and 400 W), on its own clock; batches of 0.064 s, 63 of
    # which make a window of 4.032 s and 32 a block of 2.048 s.
    virtual = estimate(spec_of(measure=SETTINGS), [])
    assert virtual.duration_s is None
    assert virtual.gpu_energy_j == pytest.approx((60 * (46 + 0.096 + 0.16), 400 * (203 + 0.048 + 0.64)))
    assert virtual.simulated
    assert total([known.duration_s, None, alone.duration_s]) == (pytest.approx((106, 328)), 1)
    assert total([None, None]) == (None, 2)
