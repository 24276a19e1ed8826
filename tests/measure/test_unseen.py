"""A load that keeps step with its sensor inside each batch: what the counter adds up, what is true, what is said."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from fakes import source_info, trace_of
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.budget import IdlePowerReading, source_energy
from harness.measure.energy import busy_energy_j
from harness.measure.uncertainty import run_u_j, window_u_j
from harness.measure.window import WindowReadings

PERIOD_S, SEEN_S = 0.1, 0.025
BURST_S, BURSTS = 0.104, 10  # 300 W for half of each burst, 100 W for the rest and at rest
GRID_S = 0.0005


@dataclass(frozen=True)
class Played:
    """True energy of the busy time, and what the harness makes of the readings."""

    true_j: float
    plain_j: float
    energy_j: float
    u_j: float
    corrected: bool


def played(phase: float, batches: int = 10, spread: bool = True, true_counter: bool = False, integrates=None) -> Played:
    """A window of batches whose starts step round the period by the golden ratio, read by a boxcar of a quarter.

    The counter adds up the readings, or true power at the same times; `integrates` is what its profile says.
    """
    starts_s, at_s = [], 1.0
    for number in range(batches):
        wanted = (phase + 0.381966 * number) % 1.0
        at_s += ((wanted - at_s / PERIOD_S) % 1.0) * PERIOD_S
        starts_s.append(at_s)
        at_s += BURSTS * BURST_S
    end_s = at_s + 0.5
    t_s = np.arange(0.0, end_s + 3.0, GRID_S)
    power_w = np.full(len(t_s), 100.0)
    for start_s in starts_s:
        since_s = t_s - start_s
        power_w[(since_s >= 0) & (since_s < BURSTS * BURST_S) & (since_s % BURST_S < BURST_S / 2)] = 300.0
    cumulative = np.concatenate([[0.0], np.cumsum(power_w) * GRID_S])

    def energy_until_j(when_s):
        return np.interp(when_s, np.append(t_s, t_s[-1] + GRID_S), cumulative)

    noise = np.random.default_rng(0)
    published_s = np.arange(1, int(end_s / PERIOD_S) + 25) * PERIOD_S
    readings_w = (energy_until_j(published_s) - energy_until_j(published_s - SEEN_S)) / SEEN_S
    readings_w = readings_w + noise.normal(0, 0.2, len(readings_w))
    polled_s = np.arange(0.2, end_s + 2.0, 0.02)
    counts_j = np.diff(energy_until_j(np.append(0.0, published_s))) if true_counter else readings_w * PERIOD_S
    counter_j = np.cumsum(counts_j)
    newest = np.searchsorted(published_s, polled_s + 1e-9, side="right") - 1
    trace = trace_of((polled_s, readings_w[newest]), energy_j=1000.0 + counter_j[newest])

    def counted_j(from_s, until_s):
        first, last = np.searchsorted(published_s, np.array([from_s, until_s]) + 1e-9, side="right") - 1
        return float(counter_j[last] - counter_j[first])

    edge_s, close_s = 0.5, round(end_s / PERIOD_S) * PERIOD_S
    readings = WindowReadings(
        start_s=edge_s,
        end_s=close_s,
        busy_spans_s=tuple((start_s, start_s + BURSTS * BURST_S) for start_s in starts_s),
        edges_j={"GPU-0": (1000.0, 1000.0 + counted_j(edge_s, close_s))},
        aligned_source="GPU-0",
        stamp_interval_s=0.0005,
        phases_spread=spread,
    )
    null = WindowReadings(
        start_s=close_s,
        end_s=close_s + 1.5,
        busy_spans_s=(),
        edges_j={"GPU-0": (5000.0, 5150.0)},
        aligned_source="GPU-0",
        stamp_interval_s=0.0005,
    )
    info = source_info(
        sensor_period_s=PERIOD_S,
        sensor_window_s=SEEN_S,
        sensor_kernel="boxcar",
        gain_relative_u=0.0,
        offset_u_w=0.0,
        counter_integrates=integrates,
    )
    found = source_energy(info, readings, null, trace, IdlePowerReading(100.0, 0.1), "counter")
    true_j = float(sum(energy_until_j(end) - energy_until_j(start) for start, end in readings.busy_spans_s))
    own_j = float(np.hypot(window_u_j(found.budget), run_u_j(found.budget)))
    correction_j = found.unseen_correction_j
    return Played(
        true_j, busy_energy_j(found) - (correction_j or 0.0), busy_energy_j(found), own_j, correction_j is not None
    )


@given(st.floats(0.0, 1.0))
def test_readings_of_all_batches_mend_what_their_plain_sum_misses(phase):
    found = played(phase)
    assert found.corrected
    # 200 W of swing at 0.02 s between neighbours in a batch put together; the sum alone is up to 6 % off.
    assert found.energy_j == pytest.approx(found.true_j, rel=0.015)
    assert abs(found.energy_j - found.true_j) < 1.96 * found.u_j


def test_it_is_a_mend_worth_having():
    errors = np.array(
        [(run.energy_j / run.true_j - 1, run.plain_j / run.true_j - 1) for run in map(played, np.arange(0, 1, 0.05))]
    )
    mended, plain = np.sqrt(np.mean(errors**2, axis=0))
    assert plain > 0.015
    assert mended < plain / 3


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"spread": False}, id="batches that start anyhow may all show the same"),
        pytest.param({"batches": 4}, id="four batches leave a fourth of the period unseen"),
        pytest.param({"integrates": "power"}, id="a counter that its profile says misses nothing"),
        pytest.param({"true_counter": True}, id="a counter that shows more than the readings"),
    ],
)
def test_nothing_is_mended_where_that_would_be_a_guess(options):
    assert not played(0.3, **options).corrected


def test_a_counter_that_sees_everything_is_left_alone_and_right():
    found = played(0.3, true_counter=True)
    assert found.energy_j == pytest.approx(found.true_j, rel=0.002)
