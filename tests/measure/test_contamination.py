"""Every contamination rule of protocol.md on a simulated A100 with a fault at a known time.

A run on the virtual clock is the same up to the moment a fault begins, so that the windows of a sound run tell when to
let something go wrong. Rejected windows stay in the record; the others are as they were.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.engines.simulated import SimulatedEngine
from harness.errors import MeasurementInvalid, SourceUnavailable
from harness.measure.session import Session, SessionResult
from harness.measure.summary import summarize
from harness.power.sampler import VirtualSampler
from harness.records import Measurement, SourceInfo, Summary
from harness.run.sources import opened_sources
from harness.run.worker import EngineWorkload, execute
from harness.specs import RunSpec, SimulatedFault
from harness.tasks.base import Request, endless_batches

REQUESTS = tuple(Request(index, "five words make a prompt") for index in range(20))
WINDOWS = 8
HIT = 4  # the window that something happens to
MEASURE = {
    "window_s": 3.0,
    "null_window_s": 2.0,
    "idle_s": 2.0,
    "warm_up_block_s": 2.0,
    "min_repeats": WINDOWS,
    "max_repeats": WINDOWS,
    "sample_period_s": 0.05,
}
WRAP_J = 2**32 / 1000


@dataclass(frozen=True)
class Outcome:
    result: SessionResult
    sources: tuple[SourceInfo, ...]

    @property
    def summary(self) -> Summary:
        """The figure.

        Raises:
            MeasurementInvalid: Too many windows were rejected.
        """
        return summarize(self.result.measurements, self.sources, "no host meter", 0.02)

    @property
    def rejected(self) -> dict[int, set[str]]:
        """Codes of every rejected window's caveats, by the window's place."""
        windows = self.result.measurements
        return {index: codes(window) for index, window in enumerate(windows) if window.rejected}

    @property
    def weakened(self) -> dict[int, set[str]]:
        """The same of the windows that count, where they have any that weaken the run too."""
        windows = self.result.measurements
        found = {index: codes(window) for index, window in enumerate(windows) if not window.rejected}
        return {index: weak for index, weak in found.items() if weak}


def codes(window: Measurement) -> set[str]:
    return {caveat.code for caveat in window.caveats if not caveat.window_only}


def spec_of(faults=(), node=(), **measure) -> RunSpec:
    """Images that take 1.2 s each, three to a window."""
    return RunSpec.model_validate(
        {
            "task": "text-to-image",
            "image": {"steps": 40},
            "model": {"id": "assumed/any"},
            "engine": "simulated",
            "sources": {
                "kind": "simulated",
                "node": {"clock": "virtual", "faults": [each.model_dump() for each in faults]} | dict(node),
            },
            "measure": MEASURE | measure,
        }
    )


def session_of(spec: RunSpec, opened) -> Session:
    assert opened.node is not None
    engine = SimulatedEngine(spec, opened.node, (0,))
    return Session(
        sources=opened.sources,
        sampler=VirtualSampler(opened.sources, opened.clock, spec.measure.sample_period_s),
        clock=opened.clock,
        spec=spec.measure,
        workload=EngineWorkload(engine, endless_batches(REQUESTS, spec.batch_size, spec.seed)),
        seed=spec.seed,
        batch_size=spec.batch_size,
        truth=opened.truth,
    )


def run(*faults: SimulatedFault, node=(), **measure) -> Outcome:
    spec = spec_of(faults, node, **measure)
    with opened_sources(spec.sources, None) as opened:
        result = session_of(spec, opened).run()
        return Outcome(result, tuple(source.info for source in opened.sources))


@functools.cache
def sound(node=(), **measure) -> Outcome:
    """The run in which nothing goes wrong."""
    return run(node=node, **measure)


def window(index: int = HIT, node=(), **measure) -> Measurement:
    return sound(node, **measure).result.measurements[index]


def fault(kind, at_s, duration_s=None, value=None, gpu=0) -> SimulatedFault:
    return SimulatedFault(kind=kind, at_s=at_s, duration_s=duration_s, value=value, gpu=gpu)


def within(kind, value=None, index: int = HIT) -> SimulatedFault:
    """For 2 s while the window's batches run."""
    return fault(kind, window(index).start_s + 0.8, 2.0, value)


def assert_only_hit(outcome: Outcome, code: str, also: set[str] = frozenset()) -> None:
    """That window alone is rejected, for that reason; it is kept; the figure is that of the sound windows."""
    assert outcome.rejected.keys() == {HIT}
    assert code in outcome.rejected[HIT] <= {code} | also
    assert len(outcome.result.measurements) == WINDOWS
    summary = outcome.summary
    assert (summary.windows, summary.rejected_windows) == (WINDOWS - 1, 1)
    assert summary.gpu_energy_j.value == pytest.approx(sound().summary.gpu_energy_j.value, rel=0.003)
    assert summary.gpu_energy_j.low <= summary.true_gpu_energy_j <= summary.gpu_energy_j.high


def test_sound_run_has_nothing_to_tell():
    assert sound().rejected == sound().weakened == {}
    assert len(sound().result.measurements) == WINDOWS
    assert {caveat.code for caveat in sound().result.caveats} <= {"target-not-reached"}
    summary = sound().summary
    assert summary.gpu_energy_j.low <= summary.true_gpu_energy_j <= summary.gpu_energy_j.high


# --- others on the board ---


def test_process_of_others_before_the_window_rejects_it():
    # It runs from the rest before the window until the last batch has ended: the null window after is left alone, but
    # the rest before this window is the null window of the one before, which is void as well.
    hit, before = window(), window(HIT - 1)
    outcome = run(fault("foreign-load", hit.start_s - 1.0, hit.busy_s, 0.3))
    assert {"shared-gpu", "guard-utilisation"} <= outcome.rejected[HIT]
    assert outcome.rejected.keys() == {HIT - 1, HIT}
    assert outcome.result.measurements[HIT - 1].start_s == before.start_s
    assert any("424242" in caveat.message for caveat in outcome.result.measurements[HIT].caveats)


def test_process_of_others_that_comes_and_goes_within_a_window_is_seen_by_its_siblings():
    assert_only_hit(run(within("foreign-load", 0.3)), "outlier")


def test_shared_board_can_be_allowed():
    faults = (fault("foreign-load", 0.0, None, 0.1),)
    assert "shared-gpu" in run(*faults).rejected[0]
    assert run(*faults, allow_shared_gpu=True).rejected == {}


def test_hidden_load_is_seen_by_the_utilisation_in_the_guards():
    hit = window()
    outcome = run(fault("hidden-load", hit.end_s + 0.7, 0.8, 0.3))
    assert HIT in outcome.rejected
    assert "guard-utilisation" in outcome.rejected[HIT]
    assert "shared-gpu" not in outcome.rejected[HIT]


def test_hidden_load_too_small_for_the_utilisation_is_seen_by_the_guards_power():
    # 4 % of 340 W are 13.6 W, at rest before the window and until its last batch ends, but not after it.
    hit = window()
    outcome = run(fault("hidden-load", hit.start_s - 1.0, hit.end_s - hit.start_s, 0.04))
    assert "guard-power" in outcome.rejected[HIT]
    # The rest before this window is the null window of the one before, which is no longer like its siblings'.
    assert outcome.rejected.keys() == {HIT - 1, HIT}
    assert outcome.rejected[HIT - 1] == {"idle-change"}


def test_load_on_another_board_is_no_contamination():
    hit = window()
    outcome = run(fault("foreign-load", hit.start_s - 1.0, 5.0, 0.3, gpu=1), node=(("gpu_count", 2),))
    assert outcome.rejected == {}


# --- throttling and clocks ---


@pytest.mark.parametrize("kind", ["throttle", "thermal-throttle"])
def test_throttle_reason_rejects_the_window_even_if_nothing_else_shows(kind):
    assert_only_hit(run(within(kind, 1.0)), "throttled")


def test_throttled_window_is_kept_where_that_is_allowed():
    outcome = run(within("throttle", 1.0), allow_throttling=True)
    assert (outcome.rejected, outcome.weakened) == ({}, {HIT: {"throttled"}})


def test_throttle_that_lowers_the_clock_rejects_the_window():
    assert_only_hit(run(within("throttle", 0.7)), "throttled", also={"clock-step", "outlier"})


def test_power_cap_weakens_the_window_it_is_in():
    outcome = run(within("power-cap", 1.0))
    assert (outcome.rejected, outcome.weakened) == ({}, {HIT: {"power-capped"}})


def test_clock_that_steps_within_a_window_rejects_it():
    hit = window(sample_period_s=0.02)  # clocks are read on every tenth sample: 18 times in a window
    middle_s, rest_s = (hit.start_s + hit.end_s) / 2, hit.end_s - hit.start_s
    outcome = run(fault("clock-step", middle_s, rest_s / 2, 0.9), sample_period_s=0.02)
    assert_only_hit(outcome, "clock-step", also={"outlier"})
    assert any("meanwhile" in caveat.message for caveat in outcome.result.measurements[HIT].caveats)


def test_clock_that_is_another_in_one_window_rejects_it_against_its_siblings():
    hit = window()
    outcome = run(fault("clock-step", hit.start_s - 0.1, hit.end_s - hit.start_s + 0.1, 0.95))
    assert_only_hit(outcome, "clock-step", also={"outlier"})


def test_step_of_the_wall_clock_changes_no_window():
    # Windows are stamped by the monotonic clock, which an administrator or a time server cannot set.
    stepped = run(fault("utc-step", window().start_s + 1.0, value=-3600.0))
    assert stepped.result.measurements == sound().result.measurements


# --- temperature ---


def test_board_that_is_warmer_in_one_window_is_rejected():
    hit = window()
    outcome = run(
        fault("thermal-drift", hit.start_s - 1.5, 1.0, 5.0), fault("thermal-drift", hit.end_s + 0.1, 1.5, -5.0)
    )
    assert_only_hit(outcome, "temperature-change", also={"outlier"})


def test_board_that_warms_during_a_window_is_rejected():
    hit = window()
    outcome = run(
        fault("thermal-drift", hit.start_s, hit.end_s - hit.start_s, 8.0),
        fault("thermal-drift", hit.end_s + 0.1, 1.5, -8.0),
    )
    assert_only_hit(outcome, "temperature-change", also={"outlier"})


def test_degree_of_warming_is_no_contamination():
    hit = window()
    assert run(fault("thermal-drift", hit.start_s, 1.0, 1.0)).rejected == {}


# --- the counter ---


def test_counter_that_is_reset_voids_the_window():
    assert_only_hit(run(fault("counter-reset", window().start_s + 1.0)), "window-void")


def test_counter_that_falls_voids_the_window():
    assert_only_hit(run(fault("counter-jump", window().start_s + 1.0, value=-5000.0)), "window-void")


@pytest.mark.parametrize("jump_j", [-50.0, 50.0])  # of some 750 J: forwards both times, within what the sensor explains
def test_counter_that_jumps_a_little_is_seen_by_its_siblings(jump_j):
    assert_only_hit(run(fault("counter-jump", window().start_s + 1.0, value=jump_j)), "outlier")


def test_counter_that_jumps_by_its_32_bits_is_implausible():
    outcome = run(fault("counter-jump", window().start_s + 1.0, value=WRAP_J))
    assert_only_hit(outcome, "implausible-power", also={"counter-disagrees", "outlier"})


def test_counter_stuck_at_an_edge_is_replaced_by_samples_and_told():
    hit = window()
    outcome = run(fault("counter-stuck", hit.end_s - 0.6, 2.0))
    assert HIT not in outcome.rejected
    assert "counter-stuck" in outcome.weakened[HIT]
    assert {source.method for source in outcome.result.measurements[HIT].sources} == {"sampled"}
    (source,) = outcome.result.measurements[HIT].sources
    assert source.energy_j == pytest.approx(source.true_energy_j, rel=0.08)  # never zero joules


def test_counter_stuck_at_an_edge_rejects_the_window_where_the_counter_was_asked_for():
    hit = window(energy_method="counter")
    outcome = run(fault("counter-stuck", hit.end_s - 0.6, 2.0), energy_method="counter")
    assert outcome.rejected.keys() == {HIT}
    assert "counter-stuck" in outcome.rejected[HIT]


def test_counter_stuck_for_ever_never_becomes_zero_joules():
    outcome = run(fault("counter-stuck", window().end_s - 0.6))
    for later in outcome.result.measurements[HIT:]:
        assert "counter-stuck" in codes(later)
        assert later.sources[0].energy_j == pytest.approx(later.sources[0].true_energy_j, rel=0.1)


def test_counter_that_has_caught_up_before_the_edge_has_done_no_harm():
    outcome = run(within("counter-stuck"))
    assert outcome.rejected == outcome.weakened == {}
    assert outcome.summary.gpu_energy_j == sound().summary.gpu_energy_j


# --- the sensor ---


def test_lost_samples_weaken_a_window_that_has_its_counter():
    outcome = run(fault("sensor-lost", window().start_s + 1.0, 1.0))
    assert (outcome.rejected, outcome.weakened) == ({}, {HIT: {"samples-lost"}})
    assert outcome.result.trace.missed_deadlines == 20  # 1 s, every 50 ms


def test_lost_samples_reject_a_window_that_has_nothing_else():
    node = (("conditions", ("no-counter",)),)
    healthy = sound(node)
    hit = window(node=node)
    outcome = run(fault("sensor-lost", hit.start_s + 1.0, 1.0), node=node)
    assert outcome.rejected.keys() - healthy.rejected.keys() == {HIT}
    assert "samples-lost" in outcome.rejected[HIT]


def test_few_lost_samples_are_no_contamination():
    outcome = run(fault("sensor-lost", window().start_s + 1.0, 0.15))
    assert outcome.rejected == outcome.weakened == {}


def test_sensor_stuck_at_the_load_is_seen_by_the_guards_power():
    hit = window()
    outcome = run(fault("sensor-stuck", hit.end_s - 1.0, 6.0))
    assert "guard-power" in outcome.rejected[HIT]


def test_board_that_is_lost_ends_the_run_and_what_was_measured_is_kept():
    spec = spec_of([fault("gpu-lost", window().start_s + 1.0)])
    with opened_sources(spec.sources, None) as opened:
        session = session_of(spec, opened)
        with pytest.raises(SourceUnavailable, match="GPU is lost") as caught:
            session.run()
        assert session.kept is not None
        assert session.kept[0] == sound().result.measurements[:HIT]
        assert session.kept[1].rows[-1, 0] <= window().start_s + 1.0
    assert "restart" in caught.value.hint


# --- too many ---


def test_more_than_a_fifth_rejected_gives_no_figure_and_keeps_every_window():
    outcome = run(within("throttle", 1.0, HIT), within("throttle", 1.0, HIT + 1))
    assert outcome.rejected == {HIT: {"throttled"}, HIT + 1: {"throttled"}}
    assert len(outcome.result.measurements) == WINDOWS
    with pytest.raises(MeasurementInvalid, match=f"2 of {WINDOWS} windows were rejected, so no figure is stated"):
        _ = outcome.summary


# --- from a config to the record ---


def test_rejected_window_stays_in_the_record(tmp_path: Path):
    record = execute(spec_of([within("throttle", 1.0)]), "c", tmp_path, lambda progress: None)
    assert record.failure is None
    assert record.summary is not None
    assert record.summary.rejected_windows == 1
    stored = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))
    assert [each["rejected"] for each in stored["measurements"]] == [index == HIT for index in range(WINDOWS)]
    told = stored["measurements"][HIT]["caveats"]
    assert [caveat["code"] for caveat in told if not caveat["window_only"]] == ["throttled"]
    assert stored["spec"]["sources"]["node"]["faults"][0]["kind"] == "throttle"


def test_run_with_too_many_rejected_windows_fails_with_the_reason_and_keeps_them(tmp_path: Path):
    faults = [within("throttle", 1.0, index) for index in (1, 3, 5)]
    record = execute(spec_of(faults), "c", tmp_path, lambda progress: None)
    assert record.status == "failed"
    assert record.summary is None
    assert record.failure is not None
    assert f"3 of {WINDOWS} windows were rejected" in record.failure.message
    assert "slowed down" in record.failure.message
    assert [each.rejected for each in record.measurements] == [index in (1, 3, 5) for index in range(WINDOWS)]


# --- what fails for a while ---


def test_lost_stretch_at_an_edge_rejects_that_window_only():
    outcome = run(fault("sensor-lost", window().end_s - 0.3, 0.5))
    assert outcome.rejected.keys() == {HIT}


def test_sensor_stuck_into_the_null_window_rejects_it():
    outcome = run(fault("sensor-stuck", window().end_s - 1.0, 3.0))
    assert HIT in outcome.rejected  # its idle power is 162 W instead of 67 W
