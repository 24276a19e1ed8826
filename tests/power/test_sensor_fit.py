"""Sensors that are known, because they were simulated, are found again; data that cannot tell say so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import UserInputError
from harness.power.profiles import SensorProfile, read_profile, write_profile
from harness.power.publications import publications
from harness.power.recording import read_recording, read_truth
from harness.power.sensor import simulate_readings
from harness.power.sensor_fit import field_of_column, fit_document, fit_profile, fit_sensor

TRACES = Path(__file__).resolve().parents[3] / "shared" / "data" / "traces"
needs_traces = pytest.mark.skipif(not TRACES.is_dir(), reason="../shared/data/traces is not on this machine")


def sensor(**given) -> SensorProfile:
    content = {"name": "test", "kernel": "boxcar", "period_s": 0.1, "window_s": 0.1, "resolution_w": 0.01} | given
    return SensorProfile(**content)


def bursts(seed: int, span_s: float = 8.0, step_s: float = 0.001) -> tuple[np.ndarray, np.ndarray]:
    """A load that goes on and off at random, every 150 ms on average, seen by a meter with 2 W of noise."""
    rng = np.random.default_rng(seed)
    t_s = np.arange(-1.0, span_s, step_s)
    on = np.searchsorted(np.cumsum(rng.exponential(0.15, 400)), t_s) % 2 == 1
    return t_s, np.where(on, 250.0, 60.0) + rng.normal(0, 2, len(t_s))


def polled(truth, profile, seed: int, poll_s: float = 0.007, noise_w: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """What uneven polls see of a noisy sensor with a phase of its own."""
    rng = np.random.default_rng(seed + 1000)
    readings = simulate_readings(*truth, profile, phase_s=rng.uniform(0, profile.period_s))
    noisy_w = np.round(readings.power_w + rng.normal(0, noise_w, len(readings.power_w)), 2)
    at_s = -0.99 + np.cumsum(rng.uniform(0.9, 1.15, int(9 / poll_s))) * poll_s
    at_s = at_s[at_s < truth[0][-1]]
    return at_s, noisy_w[np.maximum(np.searchsorted(readings.t_s, at_s, side="right") - 1, 0)]


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kernel=st.sampled_from(["boxcar", "first_order"]),
    period_s=st.sampled_from([0.02, 0.031, 0.1, 0.1012]),
    window_s=st.floats(0.012, 0.22),
    delay_s=st.floats(0.0, 0.03),
    gain=st.floats(0.9, 1.1),
    offset_w=st.floats(-20, 20),
    seed=st.integers(0, 1000),
)
def test_simulated_sensor_is_found_again(kernel, period_s, window_s, delay_s, gain, offset_w, seed):
    profile = sensor(kernel=kernel, period_s=period_s, window_s=window_s, delay_s=delay_s, gain=gain, offset_w=offset_w)
    truth = bursts(seed)
    fit = fit_sensor(*truth, *polled(truth, profile, seed))
    assert (fit.best.kernel, fit.distinguishable) == (kernel, True)
    assert fit.period_s == pytest.approx(period_s, rel=1e-3)
    assert fit.best.window_s == pytest.approx(window_s, rel=0.05, abs=0.001)
    # Lag is what the data pin down; the polls leave a few milliseconds of the phase open, and delay takes them.
    assert fit.best.delay_s == pytest.approx(delay_s, abs=0.005)
    assert fit.best.gain == pytest.approx(gain, rel=0.02)
    assert abs(fit.best.gain - gain) < 5 * fit.u["gain"] + 0.002
    assert abs(fit.best.delay_s - delay_s) < 3 * fit.u["delay_s"]
    assert abs(fit.best.window_s - window_s) < 4 * fit.u["window_s"]
    assert fit.best.offset_w == pytest.approx(offset_w, abs=4)
    assert fit.best.rmse_w < fit.second.rmse_w


def test_slow_logarithmic_board_is_first_order_with_its_own_tau():
    truth = bursts(3)
    profile = sensor(kernel="first_order", window_s=0.44, gain=0.96, offset_w=-6.0)
    document = fit_document(fit_sensor(*truth, *polled(truth, profile, 3)))
    assert document["kernel"] == "first_order"
    assert document["tau_s"] == pytest.approx(0.22, rel=0.02)
    assert document["runner_up"]["kernel"] == "boxcar"
    assert "width_s" not in document


def test_mean_of_touching_instants_is_one_wide_boxcar_and_called_a_mean():
    truth = bursts(4)
    document = fit_document(fit_sensor(*truth, *polled(truth, sensor(mean_of=10), 4)))
    assert (document["kernel"], document["mean_of"]) == ("boxcar", 10)
    assert document["width_s"] == pytest.approx(1.0, rel=0.02)
    assert "a mean over about 10 update periods, not an instant" in document["message"]


def test_mean_of_short_windows_shows_the_kernel_that_it_averages():
    truth = bursts(5)
    profile = sensor(kernel="first_order", window_s=0.025, mean_of=10)
    fit = fit_sensor(*truth, *polled(truth, profile, 5))
    document = fit_document(fit)
    assert document["mean_of"] == 10
    assert document["averaged"]["kernel"] == "first_order"
    assert document["averaged"]["tau_s"] == pytest.approx(0.0125, abs=0.002)
    assert document["width_s"] == pytest.approx(0.925, abs=0.01)
    assert (fit_profile(fit, "mine", "a test").mean_of, fit.best.mean_of) == (10, 10)


@pytest.mark.parametrize("watts", [60.0, 320.0])
def test_steady_power_tells_no_kernel_and_says_so(watts):
    rng = np.random.default_rng(6)
    t_s = np.arange(0, 6, 0.001)
    truth = (t_s, watts + rng.normal(0, 3, len(t_s)))
    document = fit_document(fit_sensor(*truth, *polled(truth, sensor(), 6)))
    assert document["distinguishable"] is False
    assert document["message"].startswith("Power hardly changed")
    assert (document["gain"], document["gain_u"], document["offset_w"]) == (None, None, None)


def test_reading_that_never_changes_is_no_error():
    t_s = np.arange(0, 6, 0.001)
    at_s = np.arange(0, 6, 0.01)
    document = fit_document(fit_sensor(t_s, np.full(len(t_s), 80.0), at_s, np.full(len(at_s), 78.0)))
    assert (document["distinguishable"], document["period_s"], document["rmse_w"]) == (False, None, 0.0)


def test_reading_that_stays_while_power_changes_tells_nothing():
    truth = bursts(4)
    at_s = np.arange(-0.9, 7.9, 0.01)
    document = fit_document(fit_sensor(*truth, at_s, np.full(len(at_s), 1410.0)))
    told = [document[key] for key in ("gain", "offset_w", "delay_s", "delay_s_u", "gain_u", "r_squared")]
    assert told == [None, None, None, None, None, 0.0]
    assert "stay at 1410 W while power changes" in document["message"]


@pytest.mark.parametrize(
    ("column", "spans", "field"),
    [
        ("power_average_w", 1, "power.draw.average"),
        ("power_draw_w", 11, "power.draw.average"),
        ("power_draw_w", 1, "power.draw"),
        ("power_instant_w", 1, "power.draw.instant"),
    ],
)
def test_profile_names_the_field_that_was_recorded(column, spans, field):
    assert field_of_column(column, spans) == field


def test_readings_of_another_board_are_explained_by_no_kernel():
    truth, other = bursts(7), bursts(8)
    document = fit_document(fit_sensor(*truth, *polled(other, sensor(), 8)))
    assert document["distinguishable"] is False
    assert (document["width_s"], document["width_s_u"], document["delay_s_u"]) == (None, None, None)
    assert "No kernel explains these readings" in document["message"]


def test_one_step_seen_by_a_slow_sensor_cannot_tell_short_kernels_apart():
    t_s = np.arange(-1, 6, 0.001)
    truth = (t_s, np.where((t_s > 0) & (t_s < 3), 250.0, 60.0))
    profile = sensor(kernel="first_order", window_s=0.018)
    document = fit_document(fit_sensor(*truth, *polled(truth, profile, 9)))
    assert document["distinguishable"] is False
    assert "cannot tell the kernels apart" in document["message"]


def test_recordings_that_hardly_overlap_are_refused():
    t_s = np.arange(0, 6, 0.001)
    at_s = np.arange(5.8, 9, 0.01)
    with pytest.raises(UserInputError, match=r"share 0\.199 s with"):
        fit_sensor(t_s, 60 + 100 * (t_s % 1 < 0.5), at_s, 60 + 100 * (np.floor(at_s * 10) % 2))


def test_coarse_truth_is_refused():
    t_s = np.arange(0, 60, 0.1)
    with pytest.raises(UserInputError, match=r"sampled every 0\.1 s: too seldom"):
        fit_sensor(t_s, np.full(600, 60.0), t_s, np.full(600, 60.0))


def test_fit_becomes_a_profile_that_gives_the_readings_back(tmp_path):
    truth = bursts(10)
    at_s, seen_w = polled(truth, sensor(gain=0.95, offset_w=-3.0, delay_s=0.01), 10)
    fit = fit_sensor(*truth, at_s, seen_w)
    write_profile(fit_profile(fit, "mine", "a test"), tmp_path / "mine.yaml")
    profile = read_profile(tmp_path / "mine.yaml")
    assert profile.calibrated
    again_w = simulate_readings(*truth, profile, fit.phase_s).at(at_s)
    agree = np.abs(again_w - seen_w) < 2.0
    assert agree.mean() > 0.9  # the rest are polls within the phase's doubt of a publication


def test_profile_is_refused_where_the_data_give_none():
    t_s = np.arange(0, 6, 0.001)
    fit = fit_sensor(t_s, np.full(len(t_s), 80.0), t_s[::10], np.full(600, 78.0))
    with pytest.raises(UserInputError, match="do not give a profile"):
        fit_profile(fit, "mine", "a test")


# --- when readings were published ---


@settings(max_examples=40, deadline=None)
@given(st.floats(0.015, 0.5), st.floats(0, 1), st.integers(0, 10_000), st.floats(0.15, 0.6))
def test_period_and_phase_are_found_far_below_the_polling_step(period_s, phase, seed, polls):
    rng = np.random.default_rng(seed)
    step_s = period_s * polls
    at_s = np.cumsum(rng.uniform(0.8, 1.2, int(100 / polls)) * step_s)
    number = np.floor((at_s - phase * period_s) / period_s)
    found = publications(at_s, rng.permutation(200)[number.astype(int) + 1].astype(float))
    assert found.period_s == pytest.approx(period_s, rel=0.004)
    away = (found.phase_s / period_s - phase + 0.5) % 1 - 0.5
    drift = abs(found.period_s / period_s - 1) * 100  # the phase is that of time zero, at the end of the lever
    assert abs(away) < 0.5 * polls + drift


def test_equal_readings_in_a_row_are_counted_and_a_stalled_poll_hides_none():
    at_s = np.round(np.delete(np.arange(0, 3, 0.01), np.arange(151, 174)), 6)  # no polls from 1.51 to 1.73 s
    shown = np.floor(at_s / 0.1 + 0.5 + 1e-9)
    shown[(shown >= 5) & (shown <= 7)] = 5
    found = publications(at_s, shown)
    assert found.period_s == pytest.approx(0.1, abs=2e-4)
    assert found.readings[3:9].tolist() == [4, 5, 5, 5, 8, 9]
    after = found.t_s[found.readings == 17]
    assert after == pytest.approx([1.645], abs=0.02)  # reading 17 came at 1.65 s, while no one polled


def test_readings_that_change_with_every_poll_have_no_period():
    at_s = np.arange(0, 5, 0.05)
    assert publications(at_s, np.arange(100.0)).period_s is None


# --- recordings of real boards ---


@needs_traces
@pytest.mark.parametrize(
    ("trace", "column", "kernel", "key", "low", "high", "most_rmse_w"),
    [
        ("5050_A100", "power_instant_w", "first_order", "tau_s", 0.012, 0.013, 2.0),
        ("TR_A100", "power_instant_w", "first_order", "tau_s", 0.011, 0.014, 2.0),
        ("TR_3090", "power_instant_w", "boxcar", "width_s", 0.096, 0.106, 1.0),
        ("TR_3090", "power_average_w", "boxcar", "width_s", 0.9, 1.2, 5.0),
    ],
)
def test_recorded_sensor_is_recognised(trace, column, kernel, key, low, high, most_rmse_w):
    document = fit_document(
        fit_sensor(*read_truth(TRACES / trace / "pmd.csv"), *read_recording(TRACES / trace / "nvml.csv", column))
    )
    assert document["kernel"] == kernel
    assert low <= document[key] <= high
    assert document["rmse_w"] <= most_rmse_w < document["runner_up"]["rmse_w"] or trace.startswith("TR")
    assert document["mean_of"] == (11 if column == "power_average_w" else 1)
    assert json.loads(json.dumps(document)) == document
    if trace == "5050_A100":
        assert document["runner_up"]["kernel"] == "boxcar"
        assert document["runner_up"]["rmse_w"] > 6
        assert document["distinguishable"]
    if trace == "TR_A100":
        assert not document["distinguishable"]  # one step up and one down
