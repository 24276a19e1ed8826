"""Served windows on the virtual clock, with scripted watts: what each part of a load draws, worked by hand."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path

import pytest
from fakes import FakeSource, source_info
from rich.console import Console

from harness.cli.served_tables import print_attempts
from harness.clock import VirtualClock
from harness.errors import HarnessError, MeasurementInvalid, SourceUnavailable
from harness.measure.served import Account, Attempt, account
from harness.measure.served_assembly import failed_apart
from harness.measure.session import Session, SessionResult
from harness.measure.summary import summarize
from harness.power.base import Reading
from harness.power.sampler import VirtualSampler
from harness.records import RunRecord, Summary
from harness.run.sources import opened_sources, refuse_shared
from harness.served_records import Attempts
from harness.serving import ServerOptions
from harness.simulated_node import SimulatedNodeSpec
from harness.simulation.gpu import SimulatedNode
from harness.specs import MeasureSpec, RunSpec, SourcesSpec
from harness.units import format_significant

OPTIONS = ServerOptions(base_url="http://127.0.0.1:1", concurrency=2)
BUSY_W, IDLE_W = 300.0, 100.0
RAMP_S, DRAIN_S, ANSWER_S = 0.35, 0.6, 0.5


@dataclass
class FakeServed:
    """300 W from begin to end. Two slots answer five tokens each half second; a third of some fails beside them."""

    clock: VirtualClock
    sources: list[FakeSource]
    failing: bool = False
    broken: HarnessError | None = None
    reached: bool = True
    _began_s: float = 0.0
    _ended_s: float = 0.0
    loads: int = field(default=0)

    def begin(self) -> bool:
        if self.broken is not None and self.loads >= 2:
            raise self.broken
        self._began_s = self.clock.now_s()
        for source in self.sources:
            source.draw(BUSY_W)
        self.loads += 1
        self.clock.sleep_s(RAMP_S)
        return self.reached

    def end(self) -> None:
        self.clock.sleep_s(DRAIN_S)
        self._ended_s = self.clock.now_s()
        for source in self.sources:
            source.draw(IDLE_W)

    def synchronize(self) -> None:
        """Nothing is in flight."""

    def account(self, start_s: float, end_s: float, reached: bool) -> Account:
        attempts = []
        for slot in range(2):
            sent_s = self._began_s - slot * ANSWER_S / 2
            while sent_s + ANSWER_S <= self._ended_s:
                pieces_s = [sent_s + ANSWER_S * (k + 1) / 5 for k in range(5)]
                bad = self.failing and slot == 1
                attempts.append(
                    Attempt(
                        due_s=sent_s,
                        sent_s=sent_s,
                        pieces_s=pieces_s,
                        ended_s=pieces_s[-1],
                        failure="http-500" if bad else None,
                        input_tokens=7,
                        output_tokens=5,
                    )
                )
                sent_s += ANSWER_S
        return account(attempts, (), start_s, end_s, OPTIONS, 5, reached)

    def totals(self) -> tuple[int, dict[str, int]]:
        return 10, {"http-500": 3} if self.failing else {}


@dataclass
class WaitingServed(FakeServed):
    """One slot, answers of half a second at 300 W; after each the next fails at once and waits as long, at 100 W."""

    def begin(self) -> bool:
        self._began_s = self.clock.now_s()
        for number in range(9):
            self.sources[0].draw(BUSY_W, self._began_s + number)
            self.sources[0].draw(IDLE_W, self._began_s + number + ANSWER_S)
        self.clock.sleep_s(RAMP_S)
        return True

    def end(self) -> None:
        self.clock.sleep_s(self._began_s + 9 - self.clock.now_s())

    def account(self, start_s: float, end_s: float, reached: bool) -> Account:
        attempts = []
        for number in range(9):
            sent_s = self._began_s + number
            ended_s = sent_s + ANSWER_S
            pieces_s = [sent_s + ANSWER_S * (k + 1) / 50 for k in range(50)]
            attempts.append(Attempt(sent_s, sent_s, pieces_s=pieces_s, ended_s=ended_s, output_tokens=50))
            attempts.append(Attempt(ended_s, ended_s, ended_s=ended_s, failure="http-429", waited_s=sent_s + 1))
        return account(attempts, (), start_s, end_s, OPTIONS, 50, reached)


def measured(  # type: ignore[no-untyped-def]
    clock: VirtualClock | None = None,
    source: dict | None = None,
    own_pids: tuple[int, ...] = (),
    load: type[FakeServed] = FakeServed,
    **served,
) -> tuple[SessionResult, Summary]:
    clock = clock or VirtualClock(0.037)
    sources = [FakeSource(clock, **(source or {}))]
    result = session_of(clock, sources, load(clock, sources, **served), own_pids).run()
    return result, summarize(result.measurements, result.sources, None, 0.02)


def session_of(
    clock: VirtualClock, sources: list[FakeSource], workload: FakeServed, own_pids: tuple[int, ...] = ()
) -> Session:
    spec = MeasureSpec(
        window_s=4.0, null_window_s=1.0, idle_s=1.0, settle_s=1.0, warm_up_block_s=1.0, min_repeats=3, max_repeats=5
    )
    return Session(
        sources=sources,
        sampler=VirtualSampler(sources, clock, spec.sample_period_s),
        clock=clock,
        spec=spec,
        workload=workload,
        seed=0,
        batch_size=1,
        own_pids=lambda: frozenset(own_pids),
        truth=lambda source_id, start_s, end_s: sources[0].true_energy_j(start_s, end_s),
    )


def test_a_held_load_is_metered_between_edges_inside_the_work() -> None:
    result, summary = measured()
    # Two slots, five tokens each half second: 20 tokens or 4 requests a second at 300 W.
    assert summary.gpu_energy_j.value == pytest.approx(300 / 4, rel=0.01)
    assert summary.energy_j_per_output_token is not None
    assert summary.energy_j_per_output_token.value == pytest.approx(300 / 20, rel=0.01)
    assert summary.gpu_idle_j.value == pytest.approx(100 / 4, rel=0.01)
    assert summary.gpu_energy_j.low <= summary.true_gpu_energy_j <= summary.gpu_energy_j.high  # type: ignore[operator]
    for window in result.measurements:
        (source,) = window.sources
        assert window.busy_s == pytest.approx(window.end_s - window.start_s)
        assert source.gap_energy_j == 0.0
        assert source.energy_j == pytest.approx(300 * window.busy_s, rel=1e-3)
        terms = {term.name: term.standard_uncertainty_j for term in source.budget}
        assert terms["lag at the edges"] == pytest.approx(0.0, abs=3.0)  # the same power at both
        assert terms["load steps"] == 0.0
        assert window.caveats == ()


def test_ramp_up_and_drain_are_metered_apart() -> None:
    result, _ = measured()
    served = result.measurements[0].served
    assert served is not None
    assert served.ramp_up is not None
    assert served.drain is not None
    for phase in (served.ramp_up, served.drain):
        assert phase.energy_j == pytest.approx(300 * phase.duration_s, rel=0.1)
        assert phase.true_energy_j == pytest.approx(300 * phase.duration_s, rel=1e-6)
        assert abs(phase.energy_j - phase.true_energy_j) <= 2 * phase.uncertainty_j  # type: ignore[operator]
    assert RAMP_S <= served.ramp_up.duration_s <= RAMP_S + 0.11  # up to the counter's next step
    assert served.drain.duration_s == pytest.approx(DRAIN_S, abs=0.001)  # and a poll


def test_what_failed_requests_drew_is_kept_apart() -> None:
    clean, without = measured()
    result, summary = measured(failing=True)
    # Half of the time in flight was of attempts that failed: half of the energy is theirs, to within all of it.
    for window in result.measurements:
        (source,) = window.sources
        assert source.failed_energy_j == pytest.approx(source.energy_j / 2, rel=0.01)
        assert window.busy_s == pytest.approx((window.end_s - window.start_s) / 2, rel=0.01)
        (term,) = [term for term in source.budget if term.name == "failed requests"]
        assert term.standard_uncertainty_j == pytest.approx(source.failed_energy_j / 3**0.5)
    assert summary.gpu_energy_j.value == pytest.approx(without.gpu_energy_j.value, rel=0.01)
    assert summary.gpu_energy_j.half_width > 0.9 * summary.gpu_energy_j.value
    assert summary.power_w == pytest.approx(300, rel=0.01)
    assert result.served is not None
    assert result.served.failed_fraction == pytest.approx(0.5, rel=0.01)
    assert result.served.all_failed == {"http-500": 3}
    assert "requests-failed" in {caveat.code for caveat in result.caveats}
    assert all(c.code != "requests-failed" for window in clean.measurements for c in window.caveats)


def test_what_failed_in_windows_that_were_all_rejected_is_kept_and_shown() -> None:
    clock = VirtualClock(0.037)
    sources = [FakeSource(clock, foreign=(4711,))]
    session = session_of(clock, sources, FakeServed(clock, sources, failing=True))
    session.run()
    assert session.kept is not None
    assert all(window.rejected for window in session.kept[0])
    assert session.kept_served is None
    windows = session.kept_windows
    assert windows is not None
    assert windows.failed_energy_j == pytest.approx(150 * windows.duration_s, rel=0.01)
    told = StringIO()
    record = RunRecord.model_construct(
        attempts=Attempts(sent=10, failed={"http-500": 3}, windows=windows),
        measurements=session.kept[0],
        origin="simulated",
        spec=RunSpec.model_construct(replay=None),
    )
    print_attempts(record, Console(file=told, width=300))
    assert f"failed requests, not in the figure: {format_significant(windows.failed_energy_j)} J" in told.getvalue()


def test_waits_to_try_again_are_kept_apart_at_idle_power() -> None:
    result, summary = measured(load=WaitingServed)
    # 300 W for half a second an answer; the other half, 100 W with nothing in flight, is the failures'.
    assert summary.gpu_energy_j.value == pytest.approx(150, rel=0.03)
    assert summary.gpu_idle_j.value == pytest.approx(50, rel=0.03)
    assert summary.true_gpu_energy_j == pytest.approx(150, rel=0.03)
    assert summary.power_w == pytest.approx(300, rel=0.01)
    assert result.served is not None
    assert result.served.retry_wait_s == pytest.approx(result.served.duration_s / 2, rel=0.03)
    assert result.served.retry_wait_energy_j == pytest.approx(100 * result.served.retry_wait_s, rel=0.01)
    assert result.served.failed_energy_j == pytest.approx(0.0, abs=1e-9)
    (source,) = result.measurements[0].sources
    (term,) = [term for term in source.budget if term.name == "failed requests"]  # up to the 300 W of the rest
    assert term.standard_uncertainty_j == pytest.approx(2 * source.gap_energy_j / 3**0.5, rel=0.02)
    told = next(caveat.message for caveat in result.caveats if caveat.code == "requests-failed")
    assert f"{result.served.retry_wait_energy_j:.4g} J in {result.served.retry_wait_s:.3g} s of waits" in told


def test_the_doubt_of_waits_is_no_more_than_the_rest_has_above_idle() -> None:
    bare = measured()[0].measurements[0].sources[0].model_copy(update={"energy_j": 500.0, "idle_power_w": 100.0})
    # 4 s, of them 3.2 s of waits at 100 W: 180 J in 0.8 s, 100 J of them above idle. A fifth of the 0.8 s failed.
    apart = [failed_apart(bare, 4.0, waits(wait_s, fraction), None) for wait_s, fraction in ((3.2, 0.2), (0.8, 0.0))]
    doubts_j = [each.budget[-1].standard_uncertainty_j * 3**0.5 for each in apart]
    assert [each.failed_energy_j for each in apart] == pytest.approx([36.0, 0.0])
    assert doubts_j == pytest.approx([36.0 + 0.8 * 100.0, 0.8 * (420 / 3.2 - 100)])


def waits(wait_s: float, fraction: float) -> Account:
    found = account((), (), 0.0, 4.0, OPTIONS, 5)
    served = found.served.model_copy(update={"failed_fraction": fraction, "retry_wait_s": wait_s})
    return replace(found, served=served)


def test_energy_by_sampling_alone_agrees() -> None:
    _, summary = measured(source={"info": source_info(counter_step_j=None)})
    assert summary.gpu_energy_j.value == pytest.approx(300 / 4, rel=0.01)


def test_a_load_that_came_on_only_in_part_is_said() -> None:
    result, _ = measured(reached=False)
    assert "concurrency-not-kept" in {caveat.code for caveat in result.caveats}


def test_a_server_that_ends_meanwhile_keeps_the_windows_before() -> None:
    clock = VirtualClock(0.037)
    with pytest.raises(MeasurementInvalid, match="gone"):
        measured(clock, broken=MeasurementInvalid("gone"))


def test_what_a_load_drew_that_failed_is_kept() -> None:
    clock = VirtualClock(0.037)
    sources = [FakeSource(clock)]

    class Breaking(FakeServed):
        def begin(self) -> bool:
            super().begin()
            clock.sleep_s(2.0)
            raise MeasurementInvalid("gone")

    session = session_of(clock, sources, Breaking(clock, sources))
    with pytest.raises(MeasurementInvalid, match="gone"):
        session.run()
    kept = session.kept_load
    assert kept is not None
    assert kept.duration_s == pytest.approx(RAMP_S + 2.0 + DRAIN_S)
    assert kept.true_energy_j == pytest.approx(300 * kept.duration_s)
    assert kept.energy_j is not None
    assert kept.uncertainty_j is not None
    assert kept.energy_j == pytest.approx(kept.true_energy_j, abs=2 * kept.uncertainty_j)
    assert kept.uncertainty_j < 0.1 * kept.energy_j
    assert kept.output_tokens > 0


def test_the_servers_own_processes_are_not_foreign() -> None:
    result, _ = measured(source={"foreign": (4711,)}, own_pids=(4711,))
    assert not any(window.rejected for window in result.measurements)
    with pytest.raises(MeasurementInvalid, match="4711"):
        measured(source={"foreign": (4711,)})
    refuse_shared([FakeSource(VirtualClock(), foreign=(4711,))], frozenset({4711}))
    with pytest.raises(SourceUnavailable, match=r"4711"):
        refuse_shared([FakeSource(VirtualClock(), foreign=(4711,))], frozenset({4712}))


# --- simulated boards, whose truth is known --------------------------------------------------------------


@dataclass
class RandomServed:
    """A server on a virtual board: answers of random length in flight, its load following their number."""

    node: SimulatedNode
    seed: int
    _attempts: list[Attempt] = field(default_factory=list)

    def begin(self) -> bool:
        """Draw what will be in flight, and let the board follow it ahead of time."""
        drawn, now_s = random.Random(f"{self.seed}-{self.node.clock.now_s()}"), self.node.clock.now_s()
        self._attempts = []
        for _ in range(4):
            sent_s = now_s
            while sent_s < now_s + 6.0:
                ended_s = sent_s + drawn.uniform(0.1, 0.9)
                pieces_s = [sent_s + (ended_s - sent_s) * (k + 1) / 8 for k in range(8)]
                self._attempts.append(
                    Attempt(due_s=sent_s, sent_s=sent_s, pieces_s=pieces_s, ended_s=ended_s, output_tokens=8)
                )
                sent_s = ended_s + drawn.uniform(0.0, 0.3)
        changes = [(a.sent_s, 1) for a in self._attempts] + [(a.ended_s or 0.0, -1) for a in self._attempts]
        in_flight = 0
        for at_s, change in sorted(changes):
            in_flight += change
            self.node.gpus[0].set_load(at_s, 0.2 * in_flight)
        self.node.clock.sleep_s(0.8)
        return True

    def end(self) -> None:
        last_s = max(a.ended_s or 0.0 for a in self._attempts)
        self.node.clock.sleep_s(last_s - self.node.clock.now_s())

    def synchronize(self) -> None:
        """Nothing is in flight."""

    def account(self, start_s: float, end_s: float, reached: bool) -> Account:
        return account(self._attempts, (), start_s, end_s, OPTIONS, 8, reached)

    def totals(self) -> tuple[int, dict[str, int]]:
        return len(self._attempts), {}


@pytest.mark.parametrize("board", ["A100-SXM4-80GB", "RTX-3090"])
def test_a_load_at_random_on_a_virtual_board_is_measured_within_the_stated_interval(board: str) -> None:
    inside = 0
    for seed in range(5):
        node = SimulatedNodeSpec(gpu=board, clock="virtual", seed=seed)
        with opened_sources(SourcesSpec(kind="simulated", node=node), None) as opened:
            assert opened.node is not None
            spec = MeasureSpec(null_window_s=1.0, warm_up_max_s=12.0, max_repeats=6, max_temperature_change_c=30.0)
            session = Session(
                sources=opened.sources,
                sampler=opened.sampler(Path("unused"), spec.sample_period_s),
                clock=opened.clock,
                spec=spec,
                workload=RandomServed(opened.node, seed),
                seed=seed,
                batch_size=1,
                truth=opened.truth,
            )
            result = session.run()
            summary = summarize(result.measurements, result.sources, None, 0.02)
        assert summary.true_gpu_energy_j is not None
        inside += summary.gpu_energy_j.low <= summary.true_gpu_energy_j <= summary.gpu_energy_j.high
    assert inside >= 4  # of five intervals that hold in 95 %


class StuckSource(FakeSource):
    """Shows 100 W whatever it draws; its counter is sound."""

    def read(self, slow: bool = True) -> Reading:
        return Reading(t_s=self.clock.now_s(), power_w=100.0, energy_j=self.read_energy_j())


def test_a_server_on_a_board_whose_reading_is_stuck_has_its_counter_or_no_figure():
    for info, kept in ((source_info(), True), (source_info(counter_step_j=None), False)):
        clock = VirtualClock(0.037)
        sources = [StuckSource(clock, info)]
        result = session_of(clock, sources, FakeServed(clock, sources)).run()
        assert all("sensor-stuck" in {caveat.code for caveat in window.caveats} for window in result.measurements)
        if kept:
            summary = summarize(result.measurements, result.sources, None, 0.02)
            assert summary.power_w == pytest.approx(300.0, abs=0.1)  # edges are known to half a millisecond of 4 s
        else:
            with pytest.raises(MeasurementInvalid, match="stuck"):
                summarize(result.measurements, result.sources, None, 0.02)
