"""When a board counts as steady, and when patience ends."""

from __future__ import annotations

import math

import pytest
from fakes import FakeSource, FakeWorkload, source_info

from harness.clock import VirtualClock
from harness.measure.base import Progress
from harness.measure.warm_up import Block, unsteady_because, warm_up
from harness.power.sampler import VirtualSampler
from harness.specs import MeasureSpec


def blocks(*pairs: tuple[float, float | None]) -> list[Block]:
    return [Block(end_s=2.0 * index, power_w=power_w, temperature_c=c) for index, (power_w, c) in enumerate(pairs)]


def warmed(clock, source, workload, **spec):
    """Warm up on the virtual clock, sampled every 20 ms; also what was reported."""
    told: list[Progress] = []
    sampler = VirtualSampler([source], clock)
    sampler.start()
    outcome = warm_up(
        [source], source, clock, MeasureSpec(**spec), workload, lambda readings: sampler.trace(), told.append
    )
    sampler.stop()
    return *outcome, told


# --- the criterion ---


def test_one_block_is_never_steady():
    assert unsteady_because(blocks((300.0, 50.0))) == "no second block fitted into the budget"
    assert unsteady_because([]) is not None


@pytest.mark.parametrize(
    ("first_w", "second_w", "steady"),
    [(300.0, 301.5, True), (300.0, 301.6, False), (301.4, 300.0, True), (301.6, 300.0, False), (0.0, 0.0, True)],
)
def test_two_blocks_may_differ_by_half_a_percent(first_w, second_w, steady):
    reason = unsteady_because(blocks((first_w, 50.0), (second_w, 50.0)))
    assert (reason is None) == steady
    assert steady or "power still moved" in str(reason)


def test_only_the_last_two_blocks_count():
    assert unsteady_because(blocks((100.0, 50.0), (300.0, 50.0), (300.5, 50.0))) is None


@pytest.mark.parametrize(("later_c", "steady"), [(50.0, True), (51.0, False), (49.0, False)])
def test_a_degree_in_two_seconds_is_still_warming(later_c, steady):
    reason = unsteady_because(blocks((300.0, 50.0), (300.0, later_c)))
    assert (reason is None) == steady
    assert steady or reason == "the GPU was still warming (30 °C/min)"


def test_a_slow_rise_shows_over_half_a_minute():
    # A degree in 14 s, 4.3 °C/min: in whole degrees two blocks in a row look alike, eight do not.
    slow = blocks(*((300.0, 50.0 + index // 7) for index in range(9)))
    assert unsteady_because(slow[:7]) is None
    assert unsteady_because(slow) == "the GPU was still warming (4 °C/min)"


@pytest.mark.parametrize("temperatures", [(None, None), (50.0, None), (None, 50.0)])
def test_board_without_a_thermometer_is_judged_by_power_alone(temperatures):
    assert unsteady_because(blocks(*((300.0, c) for c in temperatures))) is None


def test_power_that_could_not_be_read_is_not_steady():
    assert unsteady_because(blocks((math.nan, 50.0), (math.nan, 50.0))) is not None
    assert unsteady_because(blocks((300.0, 50.0), (math.nan, 50.0))) is not None


# --- the procedure ---


def test_even_load_is_steady_after_two_blocks():
    clock = VirtualClock(0.05)
    source = FakeSource(clock)
    how, batch_s, caveats, told = warmed(clock, source, FakeWorkload(clock, [source], batch_s=0.27))
    assert (how.blocks, how.steady, caveats) == (2, True, [])
    assert batch_s == pytest.approx(0.27)
    # The wait for the counter, at 100 W, is no part of the block's power.
    assert told[-1].phase == "warm-up"
    assert told[-1].power_w == pytest.approx(300.0)
    # Two blocks of about 2.5 s, a rest of 2 s * 2 s / 4 s after each, as between windows.
    assert how.duration_s == pytest.approx(0.05 + 2 * (2.5 + 1.0), abs=0.15)


def test_block_ends_with_the_batch_that_fills_it():
    clock = VirtualClock(0.05)
    source = FakeSource(clock)
    workload = FakeWorkload(clock, [source], batch_s=0.7)
    how, batch_s, _, _ = warmed(clock, source, workload)
    assert workload.ran == how.blocks * 3  # 2.1 s in each
    assert workload.prepared == workload.ran
    assert batch_s == pytest.approx(0.7)


def test_batch_longer_than_a_block_runs_once():
    clock = VirtualClock(0.05)
    source = FakeSource(clock)
    workload = FakeWorkload(clock, [source], batch_s=5.0)
    how, batch_s, _, _ = warmed(clock, source, workload)
    assert workload.ran == how.blocks == 2
    assert batch_s == pytest.approx(5.0)


def test_warming_board_uses_the_budget_and_says_so():
    clock = VirtualClock(0.05)
    source = FakeSource(clock)

    class Warming(FakeWorkload):
        def run(self, batch):
            source.temperature_c = 40.0 + clock.now_s()  # a degree per second
            return super().run(batch)

    how, _, caveats, _ = warmed(clock, source, Warming(clock, [source]), warm_up_max_s=10.0)
    assert not how.steady
    assert 10.0 <= how.duration_s < 13.0
    assert [caveat.code for caveat in caveats] == ["not-steady"]
    assert "warming" in caveats[0].message


def test_rising_power_is_not_steady():
    clock = VirtualClock(0.05)
    source = FakeSource(clock)

    class Rising(FakeWorkload):
        def run(self, batch):
            self.busy_w += 1.0
            return super().run(batch)

    how, _, caveats, _ = warmed(clock, source, Rising(clock, [source]), warm_up_max_s=10.0)
    assert not how.steady
    assert "power still moved" in caveats[0].message


def test_no_budget_still_runs_one_block_to_time_a_batch():
    clock = VirtualClock(0.05)
    source = FakeSource(clock)
    how, batch_s, caveats, _ = warmed(clock, source, FakeWorkload(clock, [source]), warm_up_max_s=0.0)
    assert how.blocks == 1
    assert not how.steady
    assert batch_s == pytest.approx(0.25)
    assert "no second block" in caveats[0].message


def test_board_without_a_counter_is_judged_by_its_samples():
    clock = VirtualClock(0.05)
    source = FakeSource(clock, source_info(counter_step_j=None))
    how, _, caveats, told = warmed(clock, source, FakeWorkload(clock, [source]))
    assert how.steady
    assert caveats == []
    assert told[-1].power_w == pytest.approx(300.0, rel=0.1)  # a little idle at the edges counts along


def test_slow_first_batches_do_not_pass_for_typical():
    clock = VirtualClock(0.05)
    source = FakeSource(clock)

    class Compiling(FakeWorkload):
        def run(self, batch):
            self.batch_s = 1.5 if self.ran == 0 else 0.25
            return super().run(batch)

    _, batch_s, _, _ = warmed(clock, source, Compiling(clock, [source]))
    assert batch_s == pytest.approx(0.25)


def test_one_batch_that_takes_the_whole_budget_is_not_taken_for_typical():
    clock = VirtualClock(0.05)
    source = FakeSource(clock)

    class Compiling(FakeWorkload):
        def run(self, batch):
            self.batch_s = 8.0 if self.ran == 0 else 0.25
            return super().run(batch)

    workload = Compiling(clock, [source])
    how, batch_s, _, _ = warmed(clock, source, workload, warm_up_max_s=5.0)
    assert (how.blocks, workload.ran) == (1, 2)
    assert batch_s == pytest.approx(0.25)
