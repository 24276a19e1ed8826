"""Every contamination rule of protocol.md on a simulated A100 with a fault at a known time.

A run on the virtual clock is the same up to the moment a fault begins, and a slowed board takes no longer for its work:
the windows of a sound run tell when to let something go wrong. So one run serves many faults, each in a window of its
own with sound ones around it, that are as they were; faults that move later windows, or change how it is measured, have
a short run of their own, on a board that needs no warming up. Rejected windows stay in the record.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable
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
from harness.simulated_node import SimulatedFault
from harness.specs import RunSpec
from harness.tasks.base import Request, endless_batches

REQUESTS = tuple(Request(index, "five words make a prompt") for index in range(20))
FEW, MANY = 7, 24  # windows of a run
HIT = 4  # the window that something happens to, in a short run
MEASURE = {"window_s": 3.0, "null_window_s": 2.0, "idle_s": 2.0, "warm_up_block_s": 2.0, "sample_period_s": 0.05}
SHORT = (("steady", True),)
WRAP_J = 2**32 / 1000


@dataclass(frozen=True)
class Outcome:
    result: SessionResult
    sources: tuple[SourceInfo, ...]

    def summary(self, windows: Iterable[int] | None = None) -> Summary:
        """The figure of all windows, or of some.

        Raises:
            MeasurementInvalid: Too many windows were rejected.
        """
        measured = self.result.measurements
        chosen = measured if windows is None else tuple(measured[index] for index in windows)
        return summarize(chosen, self.sources, "no host meter", 0.02)

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


def spec_of(faults=(), node=SHORT, windows=FEW, **measure) -> RunSpec:
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
            "measure": MEASURE | {"min_repeats": windows, "max_repeats": windows} | measure,
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


def run(*faults: SimulatedFault, **given) -> Outcome:
    spec = spec_of(faults, **given)
    with opened_sources(spec.sources, None) as opened:
        result = session_of(spec, opened).run()
        return Outcome(result, tuple(source.info for source in opened.sources))


@functools.cache
def sound(**given) -> Outcome:
    """The run in which nothing goes wrong."""
    return run(**given)


@functools.cache
def many_sound() -> Outcome:
    return run(node=(), windows=MANY)


def window(**given) -> Measurement:
    return sound(**given).result.measurements[HIT]


def fault(kind, at_s, duration_s=None, value=None, gpu=0) -> SimulatedFault:
    return SimulatedFault(kind=kind, at_s=at_s, duration_s=duration_s, value=value, gpu=gpu)


def within(kind, value=None, windows: Iterable[int] = (HIT,)) -> list[SimulatedFault]:
    """For 2 s while these windows' batches run."""
    starts_s = [sound().result.measurements[index].start_s for index in windows]
    return [fault(kind, start_s + 0.8, 2.0, value) for start_s in starts_s]


# --- many faults in one run ---


@dataclass(frozen=True)
class Case:
    """What goes wrong in a window, and what is said of it.

    `code` rejects the window, unless `kept`; `also` may be said beside it. `neighbours`: why the window before or after
    is void too, by its distance.
    """

    faults: Callable[[Measurement], list[SimulatedFault]]
    code: str | None
    also: frozenset[str] = frozenset()
    kept: bool = False
    neighbours: tuple[tuple[int, frozenset[str]], ...] = ()


def at(start_s: float, *given) -> Callable[[Measurement], list[SimulatedFault]]:
    """A fault so long after the window's start: its kind, duration and value."""
    kind, *rest = given
    return lambda hit: [fault(kind, hit.start_s + start_s, *rest)]


def jump(value_j: float) -> Callable[[Measurement], list[SimulatedFault]]:
    return at(1.0, "counter-jump", None, value_j)


def there_and_back(kelvin, begins_s, warms_s=None) -> Callable[[Measurement], list[SimulatedFault]]:
    """Warmed from a time after the window's start on, for so long or until it ends; as before right after it."""

    def faults(hit: Measurement) -> list[SimulatedFault]:
        back = fault("thermal-drift", hit.end_s + 0.1, 1.5, -kelvin)
        return [fault("thermal-drift", hit.start_s + begins_s, warms_s or hit.end_s - hit.start_s, kelvin), back]

    return faults


def some(*of: str) -> frozenset[str]:
    return frozenset(of)


BOARD = {
    # Others run from the rest before the window until the last batch has ended: the null window after is left alone,
    # but the rest before this window is the null window of the one before, which is void as well.
    "process of others": Case(
        lambda hit: [fault("foreign-load", hit.start_s - 1.0, hit.busy_s, 0.3)],
        "shared-gpu",
        some("guard-utilisation", "guard-power"),
        neighbours=((-1, some("shared-gpu", "guard-utilisation")),),
    ),
    "process that comes and goes": Case(at(0.8, "foreign-load", 2.0, 0.3), "outlier"),
    # 4 % of 340 W are 13.6 W: too little for the utilisation. At rest before the window and until its last batch ends.
    "hidden load too small": Case(
        lambda hit: [fault("hidden-load", hit.start_s - 1.0, hit.end_s - hit.start_s, 0.04)],
        "guard-power",
        neighbours=((-1, some("idle-change")),),
    ),
    "hidden load in the guards": Case(
        lambda hit: [fault("hidden-load", hit.end_s + 0.7, 0.8, 0.3)],
        "guard-utilisation",
        some("guard-power"),
        neighbours=((1, some("guard-utilisation")),),
    ),
    "throttle reason alone": Case(at(0.8, "throttle", 2.0, 1.0), "throttled"),
    "thermal reason alone": Case(at(0.8, "thermal-throttle", 2.0, 1.0), "throttled"),
    "throttle that lowers the clock": Case(at(0.8, "throttle", 2.0, 0.7), "throttled", some("clock-step", "outlier")),
    "power cap": Case(at(0.8, "power-cap", 2.0, 1.0), "power-capped", kept=True),
    "another clock than its siblings": Case(
        lambda hit: [fault("clock-step", hit.start_s - 0.1, hit.end_s - hit.start_s + 0.1, 0.95)],
        "clock-step",
        some("outlier"),
    ),
    "warmer than its siblings": Case(there_and_back(5.0, -1.5, 1.0), "temperature-change", some("outlier")),
    "warms meanwhile": Case(there_and_back(8.0, 0.0), "temperature-change", some("outlier")),
}
METERS = {
    "counter falls": Case(jump(-5000.0), "window-void"),
    # Of some 750 J: forwards both times, within what the sensor explains.
    "counter jumps a little ahead": Case(jump(50.0), "outlier"),
    "counter jumps a little back": Case(jump(-50.0), "outlier"),
    "counter jumps by its 32 bits": Case(jump(WRAP_J), "implausible-power", some("counter-disagrees", "outlier")),
    # The last of the jumps: a counter that starts at zero cannot fall by much.
    "counter is reset": Case(at(1.0, "counter-reset"), "window-void"),
    "counter stuck, caught up before the edge": Case(at(0.8, "counter-stuck", 2.0), None),
    "samples lost": Case(at(1.0, "sensor-lost", 1.0), "samples-lost", kept=True),  # it has its counter
    "few samples lost": Case(at(1.0, "sensor-lost", 0.15), None),
    "degree of warming": Case(there_and_back(1.0, 0.0, 1.0), None),
    "sensor stuck into the null window": Case(  # at 162 W instead of 67 W
        lambda hit: [fault("sensor-stuck", hit.end_s - 1.0, 3.0)],
        "sensor-stuck",
        some("guard-power"),
    ),
    "sensor stuck at the load": Case(
        lambda hit: [fault("sensor-stuck", hit.end_s - 1.0, 6.0)],
        "sensor-stuck",
        some("guard-power"),
        neighbours=((1, some("guard-power", "sensor-stuck")),),
    ),
}


def place(index: int) -> int:
    """The window of that case: between two cases lies one that nothing happens to."""
    return 2 + 2 * index


def test_sound_run_has_nothing_to_tell():
    for outcome, windows in ((many_sound(), MANY), (sound(), FEW)):
        assert outcome.rejected == outcome.weakened == {}
        assert len(outcome.result.measurements) == windows
        assert {caveat.code for caveat in outcome.result.caveats} <= {"target-not-reached"}
        summary = outcome.summary()
        assert summary.gpu_energy_j.low <= summary.true_gpu_energy_j <= summary.gpu_energy_j.high


@pytest.mark.parametrize(("name", "cases"), [("board", BOARD), ("meters", METERS)])
def test_each_fault_rejects_its_window_for_its_reason_and_no_other(name, cases):
    usual, places = many_sound(), {kind: place(index) for index, kind in enumerate(cases)}
    windows = usual.result.measurements
    faults = [each for kind, case in cases.items() for each in case.faults(windows[places[kind]])]
    outcome = run(*faults, node=(), windows=MANY)
    started_s = [window.start_s for window in outcome.result.measurements]
    assert started_s == pytest.approx([window.start_s for window in windows], abs=1e-3)
    rejected, weakened = outcome.rejected, outcome.weakened
    may_be_void = {places[kind] for kind, case in cases.items() if case.code and not case.kept}
    for kind, case in cases.items():
        if case.code is None:
            assert places[kind] not in rejected, kind
            assert places[kind] not in weakened, kind
        else:
            told = (weakened if case.kept else rejected).get(places[kind], set())
            assert case.code in told <= {case.code} | case.also, (kind, told)
        for distance, reasons in case.neighbours:
            assert rejected[places[kind] + distance] == reasons, kind
            may_be_void.add(places[kind] + distance)
    assert rejected.keys() == may_be_void
    assert weakened.keys() == {places[kind] for kind, case in cases.items() if case.kept}
    # It is kept, and the figure is that of the sound windows, whichever is rejected.
    undisturbed = [index for index in range(MANY) if index not in rejected]
    for index in rejected:
        summary = outcome.summary([*undisturbed, index])
        assert (summary.windows, summary.rejected_windows) == (len(undisturbed), 1)
        assert summary.gpu_energy_j.value == pytest.approx(usual.summary().gpu_energy_j.value, rel=0.003)
        assert summary.gpu_energy_j.low <= summary.true_gpu_energy_j <= summary.gpu_energy_j.high
    if name == "board":
        assert any("424242" in caveat.message for caveat in outcome.result.measurements[place(0)].caveats)
    else:
        assert outcome.result.trace.missed_deadlines == 23  # 1.15 s, every 50 ms
        index = places["counter stuck, caught up before the edge"]
        (seen,), (as_usual,) = (each.result.measurements[index].sources for each in (outcome, usual))
        assert seen.energy_j == pytest.approx(as_usual.energy_j, abs=0.003)  # the step is 1 mJ


# --- a run of its own for a fault ---


def assert_only_hit(outcome: Outcome, code: str, also: set[str] = frozenset()) -> None:
    """That window alone is rejected, for that reason; it is kept; the figure is that of the sound windows."""
    assert outcome.rejected.keys() == {HIT}
    assert code in outcome.rejected[HIT] <= {code} | also
    assert len(outcome.result.measurements) == FEW
    summary = outcome.summary()
    assert (summary.windows, summary.rejected_windows) == (FEW - 1, 1)
    assert summary.gpu_energy_j.value == pytest.approx(sound().summary().gpu_energy_j.value, rel=0.003)
    assert summary.gpu_energy_j.low <= summary.true_gpu_energy_j <= summary.gpu_energy_j.high


def test_shared_board_can_be_allowed():
    assert run(fault("foreign-load", 0.0, None, 0.1), allow_shared_gpu=True).rejected == {}


def test_load_on_another_board_is_no_contamination():
    hit = window()
    two = (*SHORT, ("gpu_count", 2))
    assert run(fault("foreign-load", hit.start_s - 1.0, 5.0, 0.3, gpu=1), node=two).rejected == {}


def test_throttled_window_is_kept_where_that_is_allowed():
    outcome = run(*within("throttle", 1.0), allow_throttling=True)
    assert (outcome.rejected, outcome.weakened) == ({}, {HIT: {"throttled"}})


def test_clock_that_steps_within_a_window_rejects_it():
    hit = window()  # clocks are read on every tenth sample: 18 times in a window
    middle_s, rest_s = (hit.start_s + hit.end_s) / 2, hit.end_s - hit.start_s
    outcome = run(fault("clock-step", middle_s, rest_s / 2, 0.9), sample_period_s=0.02)
    assert_only_hit(outcome, "clock-step", also={"outlier"})
    assert any("meanwhile" in caveat.message for caveat in outcome.result.measurements[HIT].caveats)


def test_step_of_the_wall_clock_changes_no_window():
    # Windows are stamped by the monotonic clock, which an administrator or a time server cannot set.
    stepped = run(fault("utc-step", window().start_s + 1.0, value=-3600.0))
    assert stepped.result.measurements == sound().result.measurements


def test_counter_stuck_at_an_edge_is_replaced_by_samples_and_told():
    outcome = run(fault("counter-stuck", window().end_s - 0.6, 2.0))
    assert HIT not in outcome.rejected
    assert "counter-stuck" in outcome.weakened[HIT]
    (source,) = outcome.result.measurements[HIT].sources
    assert source.method == "sampled"
    assert source.energy_j == pytest.approx(source.true_energy_j, rel=0.08)  # never zero joules


def test_counter_stuck_at_an_edge_rejects_the_window_where_the_counter_was_asked_for():
    outcome = run(fault("counter-stuck", window().end_s - 0.6, 2.0), energy_method="counter")
    assert outcome.rejected.keys() == {HIT}
    assert "counter-stuck" in outcome.rejected[HIT]


def test_counter_stuck_for_ever_never_becomes_zero_joules():
    outcome = run(fault("counter-stuck", window().end_s - 0.6))
    for later in outcome.result.measurements[HIT:]:
        assert "counter-stuck" in codes(later)
        assert later.sources[0].energy_j == pytest.approx(later.sources[0].true_energy_j, rel=0.1)


@pytest.mark.parametrize("method", ["counter", "sampled"])
@pytest.mark.parametrize("since", ["start", "rest", "work"])
def test_sensor_stuck_for_good_gives_no_figure_by_itself_nor_by_a_counter_that_adds_it_up(method, since):
    # Each window looks sound: steady power, small scatter, and a third of the joules that were drawn.
    hit = sound(energy_method=method).result.measurements[2]
    at_s = {"start": 0.0, "rest": hit.start_s - 0.3, "work": hit.start_s + 1.0}[since]
    outcome = run(fault("sensor-stuck", at_s), energy_method=method)
    first = 0 if since == "start" else 2
    assert list(outcome.rejected) == list(range(first, FEW))
    assert all("sensor-stuck" in told for told in outcome.rejected.values())
    with pytest.raises(MeasurementInvalid, match="without any change"):
        outcome.summary()


def test_sensor_stuck_for_good_leaves_the_figure_of_a_counter_that_goes_on_by_itself():
    outcome = run(fault("sensor-stuck", 0.5), node=(*SHORT, ("counter", "truth")))
    assert outcome.rejected == {}
    assert [told >= {"sensor-stuck"} for told in outcome.weakened.values()] == [True] * FEW
    summary = outcome.summary()
    assert summary.gpu_energy_j.low <= summary.true_gpu_energy_j <= summary.gpu_energy_j.high
    assert summary.gpu_energy_j.value == pytest.approx(summary.true_gpu_energy_j, rel=0.001)


def test_lost_samples_reject_a_window_that_has_nothing_else():
    node = (*SHORT, ("conditions", ("no-counter",)))
    outcome = run(fault("sensor-lost", window(node=node).start_s + 1.0, 1.0), node=node)
    assert outcome.rejected.keys() - sound(node=node).rejected.keys() == {HIT}
    assert "samples-lost" in outcome.rejected[HIT]


def test_lost_stretch_at_an_edge_rejects_that_window_only():
    outcome = run(fault("sensor-lost", window().end_s - 0.3, 0.5))
    assert outcome.rejected.keys() == {HIT}


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


# --- from a config to the record ---


def test_rejected_window_stays_in_the_record(tmp_path: Path):
    record = execute(spec_of(within("throttle", 1.0)), "c", tmp_path, lambda progress: None)
    assert record.failure is None
    assert record.summary is not None
    assert record.summary.rejected_windows == 1
    stored = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))
    assert [each["rejected"] for each in stored["measurements"]] == [index == HIT for index in range(FEW)]
    told = stored["measurements"][HIT]["caveats"]
    assert [caveat["code"] for caveat in told if not caveat["window_only"]] == ["throttled"]
    assert stored["spec"]["sources"]["node"]["faults"][0]["kind"] == "throttle"


def test_more_than_a_fifth_rejected_gives_no_figure_but_the_reason_and_keeps_every_window(tmp_path: Path):
    record = execute(spec_of(within("throttle", 1.0, (1, 4))), "c", tmp_path, lambda progress: None)
    assert (record.status, record.summary) == ("failed", None)
    assert record.failure is not None
    assert f"2 of {FEW} windows were rejected, so no figure is stated" in record.failure.message
    assert "slowed down" in record.failure.message
    assert [each.rejected for each in record.measurements] == [index in (1, 4) for index in range(FEW)]
