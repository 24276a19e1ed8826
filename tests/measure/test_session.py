"""A whole measurement on the virtual clock: scripted watts with answers by hand, and simulated boards with a truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from fakes import FakeSource, FakeWorkload, source_info

from harness.clock import VirtualClock
from harness.engines.simulated import SimulatedEngine
from harness.errors import HarnessError, MeasurementInvalid, OutOfMemory
from harness.measure.base import Progress
from harness.measure.session import Session, SessionResult
from harness.measure.summary import summarize
from harness.measure.uncertainty import window_u_j
from harness.power.base import ReferenceReading
from harness.power.sampler import VirtualSampler
from harness.power.trace import PowerTrace
from harness.records import SourceInfo, Summary
from harness.run.sources import opened_sources
from harness.run.worker import EngineWorkload
from harness.specs import MeasureSpec, RunSpec, SourcesSpec
from harness.tasks.base import Request, endless_batches

QUICK = {"window_s": 2.0, "null_window_s": 1.0, "idle_s": 1.0, "settle_s": 5.0, "warm_up_block_s": 1.0}


# --- scripted watts ------------------------------------------------------------------------------------


def session_of(sources: Sequence[FakeSource], workload=None, sampler=None, **options) -> Session:
    clock = sources[0].clock
    spec = MeasureSpec(**(QUICK | options.pop("spec", {})))
    active = [source for source in sources if source.info.runs_model]
    return Session(
        sources=sources,
        sampler=sampler or VirtualSampler(sources, clock, spec.sample_period_s),
        clock=clock,
        spec=spec,
        workload=workload or FakeWorkload(clock, active, batch_s=0.27),
        seed=0,
        batch_size=4,
        **options,
    )


def summary_of(sources: Sequence[FakeSource], result: SessionResult) -> Summary:
    return summarize(result.measurements, tuple(source.info for source in sources), None, 0.02)


def figure_of(sources: Sequence[FakeSource], workload=None, **spec) -> Summary:
    """What a run would state."""
    return summary_of(sources, session_of(sources, workload, spec=spec).run())


def one(**changes) -> list[FakeSource]:
    return [FakeSource(VirtualClock(0.037), **changes)]


def codes(result: SessionResult) -> set[str]:
    found = [*result.caveats, *(caveat for window in result.measurements for caveat in window.caveats)]
    return {caveat.code for caveat in found}


def test_three_hundred_watts_over_four_requests_worked_by_hand():
    sources = one()
    result = session_of(sources).run()
    summary = summary_of(sources, result)
    # A batch of four takes 0.27 s: at 300 W 81 J, of which 27 J are what idling would have drawn.
    assert summary.gpu_energy_j.value == pytest.approx(81.0 / 4, rel=0.001)
    assert summary.gpu_idle_j.value == pytest.approx(27.0 / 4, rel=0.001)
    assert summary.gpu_above_idle_j.value == pytest.approx(54.0 / 4, rel=0.001)
    assert summary.duration_s == pytest.approx(0.27 / 4)
    assert summary.power_w == pytest.approx(300.0, rel=0.001)
    assert summary.target_reached
    assert codes(result) == set()


def test_each_window_is_filled_with_whole_batches():
    result = session_of(one()).run()
    assert [window.label for window in result.measurements] == [f"repeat-{k}" for k in range(1, 6)]
    for window in result.measurements:
        assert window.batch_durations_s == pytest.approx([0.27] * 8)  # seven would be 1.89 s
        assert window.work.requests == 32
        assert window.busy_s == pytest.approx(2.16)
        assert window.end_s - window.start_s < 2.16 + 0.5 + 0.001  # a random wait, a guard of 300 ms and the edge


def test_fixed_number_of_requests_is_rounded_up_to_batches():
    result = session_of(one(), spec={"requests_per_window": 10}).run()
    assert {window.work.requests for window in result.measurements} == {12}


class Preparing(FakeWorkload):
    """Preparing a batch takes 50 ms, in which the board draws 20 W more."""

    def prepare(self, batch_count):
        for source in self.sources:
            source.draw(120.0)
        self.clock.sleep_s(0.05 * batch_count)
        for source in self.sources:
            source.draw(100.0)
        return super().prepare(batch_count)


def test_preparing_is_metered_apart_where_it_is_asked_for():
    sources = one()
    result = session_of(
        sources, Preparing(sources[0].clock, sources, batch_s=0.27), spec={"meter_preparation": True}
    ).run()
    assert [window.label for window in result.preparation] == ["preparation-1", "preparation-2", "preparation-3"]
    assert not any(window.rejected for window in result.preparation)
    prepared = summarize(result.preparation, tuple(source.info for source in sources), None, 0.02)
    # 50 ms a batch of four: at 120 W 6 J, of which 5 J are what idling would have drawn.
    assert prepared.duration_s == pytest.approx(0.05 / 4)
    assert prepared.gpu_energy_j.value == pytest.approx(6.0 / 4, rel=0.01)
    assert prepared.gpu_above_idle_j.value == pytest.approx(1.0 / 4, rel=0.05)
    # The figure is what it is without: 81 J for four.
    assert summary_of(sources, result).gpu_energy_j.value == pytest.approx(81.0 / 4, rel=0.002)


def test_preparing_is_not_metered_unasked():
    assert session_of(one()).run().preparation == ()


def test_idle_before_between_and_after_are_kept_apart():
    sources = one(idle_w=90.0)

    class Settling(FakeWorkload):
        def run(self, batch):
            work = super().run(batch)
            self.sources[0].draw(120.0)  # the board does not come down to what it drew before
            return work

    result = session_of(sources, Settling(sources[0].clock, sources, batch_s=0.27)).run()
    (idle,) = result.idle
    assert idle.before_w == pytest.approx(90.0)
    assert idle.null_w == pytest.approx(120.0)
    assert idle.after_w == pytest.approx(120.0)
    assert idle.subtracted == "null"
    assert [window.sources[0].idle_power_w for window in result.measurements] == pytest.approx([120.0] * 5)


def test_phases_are_told_in_order():
    told: list[Progress] = []
    session_of(one(), report=told.append).run()
    phases = [progress.phase for progress in told]
    assert [phase for index, phase in enumerate(phases) if index == 0 or phases[index - 1] != phase] == [
        "idle",
        "warm-up",
        "measure",
        "idle after load",
    ]
    last = [progress for progress in told if progress.phase == "measure"][-1]
    assert (last.repeat, last.max_repeats, last.left_s) == (5, 20, 0.0)
    assert last.energy_j == pytest.approx(20.25, rel=0.001)
    assert last.power_w == pytest.approx(300.0, rel=0.001)


def test_trace_reaches_from_the_first_idle_to_the_last():
    sources = one()
    result = session_of(sources).run()
    t_s, power_w = result.trace.power("GPU-0")
    assert t_s[0] == 0.037
    assert t_s[-1] == pytest.approx(sources[0].clock.now_s(), abs=0.021)
    assert np.diff(t_s) == pytest.approx(0.02, abs=1e-9)
    assert set(power_w) == {100.0, 300.0}
    assert result.trace.missed_deadlines == 0


def test_scatter_that_stays_wide_ends_with_a_caveat():
    sources = one()

    class Uneven(FakeWorkload):
        def prepare(self, batch_count):
            if batch_count > 1:  # not in the warm-up, which asks for one at a time
                self.busy_w = 250.0 if self.busy_w == 350.0 else 350.0
            return super().prepare(batch_count)

    result = session_of(sources, Uneven(sources[0].clock, sources), spec={"max_repeats": 6}).run()
    assert len(result.measurements) == 6
    assert codes(result) == {"target-not-reached", "unexplained-scatter"}


def test_time_budget_ends_the_repeats():
    result = session_of(one(), spec={"max_duration_s": 5.0}).run()
    assert len(result.measurements) == 2


def test_failing_work_ends_the_sampling_and_passes_on():
    sources = one()
    clock = sources[0].clock

    class Greedy(FakeWorkload):
        def run(self, batch):
            if self.ran == 12:
                raise OutOfMemory("The batch does not fit.", "Use a smaller one.")
            return super().run(batch)

    sampler = VirtualSampler(sources, clock)
    with pytest.raises(OutOfMemory):
        session_of(sources, Greedy(clock, sources, batch_s=0.27), sampler).run()
    before = len(sampler.trace().rows)
    clock.sleep_s(1.0)
    assert len(sampler.trace().rows) == before


def test_other_tools_are_opened_and_closed_around_every_window():
    @dataclass
    class Tool:
        name: str = "other"
        version: str = "1"
        seen: list[str] = field(default_factory=list)

        def start(self):
            self.seen.append("start")

        def stop(self):
            self.seen.append("stop")
            return ReferenceReading(gpu_energy_j=float(len(self.seen)), cpu_energy_j=None, dram_energy_j=None)

        def close(self):
            self.seen.append("close")

    tool = Tool()
    result = session_of(one(), references=[tool]).run()
    assert tool.seen == ["start", "stop"] * 5
    assert [readings[0].gpu_energy_j for readings in result.references] == [2.0, 4.0, 6.0, 8.0, 10.0]


# --- what can go wrong with a source ---


def test_window_shorter_than_three_periods_gives_no_figure():
    sources = one()
    result = session_of(sources, spec={"requests_per_window": 4}).run()
    assert len(result.measurements) == 5
    assert all(window.rejected for window in result.measurements)
    assert codes(result) == {"too-short"}
    with pytest.raises(MeasurementInvalid, match="5 of 5 windows"):
        summary_of(sources, result)


def test_foreign_process_on_the_board_rejects_the_window():
    result = session_of(one(foreign=(4711,))).run()
    assert all(window.rejected for window in result.measurements)
    assert "4711" in result.measurements[0].caveats[0].message


def test_shared_board_may_be_accepted_by_name():
    result = session_of(one(foreign=(4711,)), spec={"allow_shared_gpu": True}).run()
    assert not any(window.rejected for window in result.measurements)


def test_process_on_a_board_without_the_model_is_nobodys_business():
    clock = VirtualClock(0.037)
    idler = FakeSource(clock, source_info(id="GPU-1", runs_model=False), foreign=(4711,))
    result = session_of([FakeSource(clock), idler]).run()
    assert not any(window.rejected for window in result.measurements)


def test_board_that_was_slowed_down_gives_no_figure():
    sources = one(throttle=0x20)
    result = session_of(sources).run()
    assert all(window.rejected for window in result.measurements)
    with pytest.raises(MeasurementInvalid, match="slowed down"):
        summary_of(sources, result)


def test_slowed_board_may_be_accepted_by_name():
    result = session_of(one(throttle=0x20), spec={"allow_throttling": True}).run()
    assert codes(result) == {"throttled"}
    assert not any(window.rejected for window in result.measurements)


def test_board_at_its_power_limit_is_named_but_measured():
    result = session_of(one(throttle=0x4)).run()
    assert codes(result) == {"power-capped"}
    assert not any(window.rejected for window in result.measurements)


def test_counter_alone_is_enough_for_a_board_that_tells_no_watts():
    sources = one(has_power=False)
    result = session_of(sources).run()
    summary = summary_of(sources, result)
    assert summary.gpu_energy_j.value == pytest.approx(20.25, rel=0.001)
    assert {window.sources[0].sample_count for window in result.measurements} == {0}


def test_host_counter_is_metered_beside_a_sampled_board():
    clock = VirtualClock(0.037)
    cpu_info = source_info(id="cpu", kind="cpu", scope="node", runs_model=False, sensor_period_s=0.001)
    cpu = FakeSource(clock, cpu_info, idle_w=50.0, has_power=False)
    sources = [FakeSource(clock, source_info(counter_step_j=None)), cpu]
    result = session_of(sources).run()
    assert [source.method for source in result.measurements[0].sources] == ["sampled", "counter"]
    summary = summary_of(sources, result)
    assert summary.node_energy_j is not None
    # 50 W over a batch of four in 0.27 s; the counter's edges are up to 0.1 s off in windows of about 2.2 s.
    assert summary.node_energy_j.value - summary.gpu_energy_j.value == pytest.approx(50 * 0.27 / 4, rel=0.05)


def test_board_without_a_counter_is_sampled():
    sources = one(info=source_info(counter_step_j=None))
    result = session_of(sources).run()
    assert {source.method for window in result.measurements for source in window.sources} == {"sampled"}
    summary = summary_of(sources, result)
    # The fake reads true power now, without a sensor's lag.
    assert summary.gpu_energy_j.value == pytest.approx(20.25, rel=0.005)


def test_second_board_leads_where_the_first_has_no_counter():
    clock = VirtualClock(0.037)
    sources = [FakeSource(clock, source_info(counter_step_j=None)), FakeSource(clock, source_info(id="GPU-1"))]
    result = session_of(sources).run()
    assert [source.method for source in result.measurements[0].sources] == ["sampled", "counter"]
    summary = summary_of(sources, result)
    assert summary.gpu_energy_j.value == pytest.approx(2 * 20.25, rel=0.005)


def test_counter_reset_in_one_window_rejects_that_window_only():
    sources = one(counter_zero_at_s=15.0)
    result = session_of(sources).run()
    assert [window.rejected for window in result.measurements].count(True) == 1
    assert "window-void" in codes(result)
    assert result.idle[0].null_w == pytest.approx(100.0)
    summary = summary_of(sources, result)
    assert summary.gpu_energy_j.value == pytest.approx(20.25, rel=0.001)


def test_counter_asked_for_where_there_is_none_is_told():
    sources = one(info=source_info(counter_step_j=None))
    with pytest.raises(HarnessError, match="Fake GPU has no energy counter"):
        figure_of(sources, energy_method="counter")


def test_source_that_tells_nothing_is_told():
    sources = one(info=source_info(counter_step_j=None), has_power=False)
    with pytest.raises(HarnessError, match="power trace covers nothing"):
        figure_of(sources)


@pytest.mark.parametrize("from_s", [0.0, 12.0])
def test_stuck_counter_never_becomes_zero_joules(from_s):
    sources = one(counter_stuck_from_s=from_s)
    result = session_of(sources).run()
    assert "counter-stuck" in codes(result)
    try:
        summary = summary_of(sources, result)
    except MeasurementInvalid:
        return  # no figure is a good answer
    assert summary.gpu_energy_j.value == pytest.approx(20.25, rel=0.02)  # by its samples


def test_work_that_answers_nothing_gives_no_figure():
    sources = one()
    with pytest.raises(MeasurementInvalid):
        figure_of(sources, FakeWorkload(sources[0].clock, sources, requests=0))


# --- what can go wrong with the sampler ---


class DyingSampler(VirtualSampler):
    """Nothing after the first ten seconds, and no word of what was missed."""

    def trace(self) -> PowerTrace:
        whole = super().trace()
        return replace(whole.between(0.0, 10.0), missed_deadlines=None)


def test_dead_sampler_leaves_the_counter_at_work():
    sources = one()
    result = session_of(sources, sampler=DyingSampler(sources, sources[0].clock)).run()
    assert codes(result) == {"sampler-died", "samples-lost"}
    summary = summary_of(sources, result)
    assert summary.gpu_energy_j.value == pytest.approx(20.25, rel=0.001)
    assert result.measurements[-1].sources[0].sampled_energy_j is None


class StaggeredSampler(VirtualSampler):
    """The second board is read 15 ms after the first, as on a machine with many boards; asking takes 8 ms."""

    def trace(self) -> PowerTrace:
        self._clock.sleep_s(0.008)
        whole = super().trace()
        rows = whole.rows.copy()
        rows[:, 0] += 0.015 * rows[:, 1]
        return replace(whole, rows=rows[rows[:, 0] <= self._clock.now_s()])


def test_trace_has_to_cover_the_window_for_every_board():
    clock = VirtualClock(0.037)
    sources = [FakeSource(clock, source_info(id=f"GPU-{index}", counter_step_j=None)) for index in range(2)]
    result = session_of(sources, sampler=StaggeredSampler(sources, clock)).run()
    assert codes(result) == set()
    assert not any(window.rejected for window in result.measurements)


# --- simulated boards ----------------------------------------------------------------------------------

REQUESTS = tuple(Request(index, "five words make a prompt") for index in range(20))
SHORT = QUICK | {"settle_s": 0.5, "warm_up_max_s": 4.0, "max_repeats": 6, "sample_period_s": 0.05}
TEXT = {"task": "text-generation", "text": {"new_tokens": 10}}  # a batch takes 64 ms: beats with a 100 ms sensor
IMAGE = {"task": "text-to-image", "image": {"steps": 20}}  # a batch of four takes 2.4 s


@dataclass(frozen=True)
class Outcome:
    result: SessionResult
    sources: tuple[SourceInfo, ...]
    summary: Summary


def simulated(
    task: dict,
    seed: int = 0,
    calibrated: bool = False,
    gpus: tuple[int, ...] = (0,),
    measure=None,
    period_factor: float = 1.0,
    **node,
) -> Outcome:
    """A session on a simulated node.

    `calibrated`: gain 1 and offset 0, and the sources know it. `period_factor`: by how much their profile is wrong.
    """
    spec = RunSpec.model_validate(
        task
        | {
            "model": {"id": "assumed/any"},
            "engine": "simulated",
            "batch_size": 4,
            "seed": seed,
            "sources": {
                "kind": "simulated",
                "gpus": gpus,
                "node": {"clock": "virtual", "seed": seed, "gpu_count": max(gpus) + 1} | node,
            },
            "measure": SHORT | (measure or {}),
        }
    )
    with opened_sources(SourcesSpec.model_validate(spec.sources.model_dump()), None) as opened:
        assert opened.node is not None
        if calibrated:
            for gpu in opened.node.gpus:
                gpu.gain, gpu.offset_w = 1.0, 0.0
            for source in opened.sources:
                source.info = source.info.model_copy(update={"gain_relative_u": 0.0, "offset_u_w": 0.0})
        for source in opened.sources:
            wrong_s = source.info.sensor_period_s * period_factor
            source.info = source.info.model_copy(update={"sensor_period_s": wrong_s})
        session = Session(
            sources=opened.sources,
            sampler=VirtualSampler(opened.sources, opened.clock, spec.measure.sample_period_s),
            clock=opened.clock,
            spec=spec.measure,
            workload=EngineWorkload(
                SimulatedEngine(spec, opened.node, gpus), endless_batches(REQUESTS, spec.batch_size, seed)
            ),
            seed=seed,
            batch_size=spec.batch_size,
            truth=opened.truth,
        )
        result = session.run()
        known = tuple(source.info for source in opened.sources)
    return Outcome(result, known, summarize(result.measurements, known, "no host meter", 0.02))


def stray(outcomes: Sequence[Outcome]) -> float:
    """Root mean square of the windows' errors over what each says of itself."""
    squares = []
    for window in (window for outcome in outcomes for window in outcome.result.measurements):
        (source,) = window.sources
        assert source.true_energy_j is not None
        squares.append(((source.energy_j - source.true_energy_j) / window_u_j(source.budget)) ** 2)
    return math.sqrt(np.mean(squares))


def share_covered(seeds: range, task: dict, **options) -> float:
    """How often the stated interval holds the true energy per generation."""
    covered = 0
    for seed in seeds:
        summary = simulated(task, seed, **options).summary
        assert summary.true_gpu_energy_j is not None
        covered += summary.gpu_energy_j.low <= summary.true_gpu_energy_j <= summary.gpu_energy_j.high
    return covered / len(seeds)


@pytest.mark.parametrize("counter", ["sensor", "truth"])
@pytest.mark.parametrize("task", [TEXT, IMAGE], ids=["text", "image"])
def test_true_energy_lies_within_the_stated_interval(task, counter):
    # Gain and offset of each board are drawn with the standard deviations of ±5 % and ±3 W; the interval says 95 %.
    assert share_covered(range(20 if counter == "sensor" else 8), task, counter=counter) >= 0.95


@pytest.mark.parametrize(
    ("gpu", "task", "counter"),
    [
        pytest.param("A100-SXM4-80GB", TEXT, "sensor", id="A100-text-sensor"),
        pytest.param("A100-SXM4-80GB", TEXT, "truth", id="A100-text-truth"),
        pytest.param("A100-SXM4-80GB", IMAGE, "sensor", id="A100-image-sensor"),
        pytest.param("A100-SXM4-80GB", IMAGE, "truth", id="A100-image-truth"),
        pytest.param("RTX-3090", TEXT, "sensor", id="3090-text-sensor"),
        pytest.param("RTX-3090", IMAGE, "sensor", id="3090-image-sensor"),
    ],
)
def test_random_part_alone_covers_the_truth(gpu, task, counter):
    assert share_covered(range(5), task, gpu=gpu, counter=counter, calibrated=True) == 1


@pytest.mark.parametrize("gpu", ["A100-SXM4-80GB", "RTX-3090"])
def test_sampled_energy_covers_the_truth(gpu):
    assert share_covered(range(5), IMAGE, gpu=gpu, conditions=("no-counter",), calibrated=True) == 1


def test_window_of_a_board_that_leads_or_not_is_off_by_what_its_budget_says():
    squares = [], []
    for seed in range(8):
        for window in simulated(IMAGE, seed, gpu="RTX-3090", gpus=(0, 1), calibrated=True).result.measurements:
            for of_board, source in zip(squares, window.sources, strict=True):
                assert source.true_energy_j is not None
                stated_j = max(window_u_j(source.budget), 0.05)  # 2 ms from publishing to showing cost 0.05 J
                of_board.append(((source.energy_j - source.true_energy_j) / stated_j) ** 2)
    assert all(math.sqrt(np.mean(of_board)) < 1.4 for of_board in squares)


@pytest.mark.parametrize("factor", [0.97, 1.0, 1.03, 1.2])
def test_profile_of_another_period_than_the_boards_misleads_nobody(factor):
    measure = {"sample_period_s": 0.02}
    outcomes = [simulated(IMAGE, seed, calibrated=True, measure=measure, period_factor=factor) for seed in range(3)]
    for outcome in outcomes:
        (seen,) = outcome.result.sources
        assert seen.sensor_period_u_s is not None
        assert seen.sensor_period_u_s < 0.3e-3
        assert seen.sensor_period_s == pytest.approx(0.1012, abs=2 * seen.sensor_period_u_s)
        assert outcome.sources[0].sensor_period_s == pytest.approx(0.1012 * factor)
        assert ("period-disagrees" in codes(outcome.result)) == (abs(factor - 1) > 0.05)
    assert stray(outcomes) < 1.2


def test_phases_that_nothing_vouches_for_exclude_no_beat():
    # Polls slower than the readings are renewed: how often that is stays the profile's word, good for 0.28 s.
    info = source_info(sensor_window_s=0.025)
    for batch_s, codes_expected in ((0.25, False), (0.35, True)):
        sources = [FakeSource(VirtualClock(0.037), info)]
        workload = FakeWorkload(sources[0].clock, sources, batch_s=batch_s)
        result = session_of(sources, workload, spec={"sample_period_s": 0.15}).run()
        assert result.sources[0].sensor_period_u_s is None
        assert ("beat-not-excluded" in codes(result)) is codes_expected


def test_two_boards_of_unknown_gain_cover_the_truth():
    assert share_covered(range(10), IMAGE, gpus=(0, 1)) >= 0.9


def test_same_seed_gives_the_same_numbers():
    assert simulated(TEXT, seed=3).result.measurements == simulated(TEXT, seed=3).result.measurements
    assert simulated(TEXT, seed=3).summary != simulated(TEXT, seed=4).summary


def test_idle_of_a_calibrated_board_is_its_profiles():
    measure = {"idle_s": 3.0, "settle_s": 8.0}
    (idle,) = simulated(IMAGE, calibrated=True, measure=measure).result.idle
    assert idle.before_w == pytest.approx(60.0, abs=0.05)
    # After the load 25 W more that decay with 0.7 s; the null window sees them from about 0.2 to 1.5 s after it.
    assert idle.null_w is not None
    assert 60.0 + 25 * 0.7 * (math.exp(-0.2 / 0.7) - math.exp(-1.5 / 0.7)) / 1.3 == pytest.approx(idle.null_w, abs=2.5)
    assert idle.after_w == pytest.approx(60.0, abs=0.5)  # a warm board draws a little more


def test_beating_load_gets_random_delays():
    spread = simulated(TEXT).result.measurements[0]
    # Each batch takes 64.1 ms of a period of 101.2 ms, 0.633 of it; the next noble step is 0.724: 9 ms, 31 times.
    waited_s = spread.end_s - spread.start_s - spread.busy_s
    assert waited_s == pytest.approx(31 * (0.72361 * 0.1012 - 0.0641), abs=0.1012 + 0.1012 + 0.35)
    assert waited_s > 31 * 0.009


@pytest.mark.parametrize(
    ("gpu", "task", "measure"),
    [
        ("RTX-3090", TEXT, {}),  # a sensor that sees everything cannot be fooled
        ("A100-SXM4-80GB", TEXT, {"random_delays": "never"}),
    ],
)
def test_other_loads_run_without_pause(gpu, task, measure):
    window = simulated(task, gpu=gpu, measure=measure).result.measurements[0]
    assert window.end_s - window.start_s - window.busy_s < 0.51


def test_only_selected_boards_make_the_gpu_energy():
    outcome = simulated(IMAGE, gpus=(1, 2), calibrated=True)
    assert [info.runs_model for info in outcome.sources] == [False, True, True]
    summary = outcome.summary
    idler_j = summary.node_gpus_energy_j.value - summary.gpu_energy_j.value
    assert idler_j == pytest.approx(60.0 * summary.duration_s, rel=0.01)


def test_board_without_a_counter_is_sampled_end_to_end():
    outcome = simulated(IMAGE, conditions=("no-counter",))
    assert {source.method for window in outcome.result.measurements for source in window.sources} == {"sampled"}
    assert outcome.summary.true_gpu_energy_j == pytest.approx(outcome.summary.gpu_energy_j.value, rel=0.08)


def test_counter_and_samples_agree_on_a_simulated_board():
    for counter in ("sensor", "truth"):
        assert "counter-disagrees" not in codes(simulated(IMAGE, counter=counter).result)


def test_throttled_board_is_named_in_every_window():
    result = simulated(IMAGE, conditions=("throttled",), measure={"allow_throttling": True}).result
    assert all("throttled" in {caveat.code for caveat in window.caveats} for window in result.measurements)


def test_foreign_process_on_a_simulated_board_gives_no_figure():
    with pytest.raises(MeasurementInvalid, match="424242"):
        simulated(IMAGE, conditions=("foreign-process",))
