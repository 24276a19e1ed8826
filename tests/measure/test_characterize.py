"""What the analysis makes of looks at sensors that are known: made here by the sensor model, or by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from fakes import source_info

from harness.errors import MeasurementInvalid
from harness.measure.characterize import Recording, findings_of, kernel_of, load_curve, power_updates, rise_s
from harness.measure.findings import caveats_of, profile_of
from harness.power.profiles import SensorProfile
from harness.power.sensor import kernel_response

IDLE_W, LOAD_W = 50.0, 350.0
GOLDEN = (1 + math.sqrt(5)) / 2
LOOK_S = 0.0017
PHASE_S = 0.031
COUNTER_S, COUNTER_STEP_J = 0.037, 0.25


def squares(start_s, end_s, period_s):
    """On for the first half of each period."""
    return [(at, at + period_s / 2) for at in np.arange(start_s, end_s - period_s, period_s)]


def in_step(start_s, end_s, profile, shift):
    """On for the half of each sensor period that a reading sees, or (shift 0.5) for the other one."""
    first_s = PHASE_S - profile.delay_s - (3 / 8 - shift) * profile.period_s
    number = math.ceil((start_s - first_s) / profile.period_s)
    return squares(first_s + number * profile.period_s, end_s, profile.period_s)


def recording_of(profile: SensorProfile, uplift_w: float = 0.0, seed: int = 1) -> Recording:
    """A board of 50 W idle and 350 W under load, seen by this sensor, with a counter that adds up true energy.

    Phases as in run/load_pattern, 60 s in all; `uplift_w` after the steady load decays with 0.7 s. The readings
    carry noise of 1 W.
    """
    rng = np.random.default_rng(seed)
    longest_s = max(profile.period_s, profile.memory_s)
    phases_s = {
        "idle": (0.0, 6.0), "load": (6.0, 16.0), "rest": (16.0, 26.0), "square 1": (26.0, 37.0),
        "square 2": (37.0, 48.0), "seen": (48.0, 53.0), "unseen": (53.0, 58.0), "end": (58.0, 60.0),
    }  # fmt: skip
    updates_s = np.arange(PHASE_S, 60.0, profile.period_s)
    spans_s = np.array([
        (6.0, 16.0),
        *squares(26.0, 37.0, longest_s * GOLDEN),
        *squares(37.0, 48.0, longest_s / GOLDEN),
        *in_step(48.0, 52.8, profile, 0.0),
        *in_step(53.0, 57.8, profile, 0.5),
    ])  # fmt: skip
    truth_s, on = load_curve(spans_s, 0.0, 60.0)
    true_w = IDLE_W + (LOAD_W - IDLE_W) * on + uplift_w * np.where(truth_s >= 16.0, np.exp(-(truth_s - 16) / 0.7), 0.0)
    seen_w = sum(
        kernel_response(truth_s, true_w, updates_s - profile.delay_s - back * profile.period_s, profile.kernel,
                        profile.window_s)
        for back in range(profile.mean_of)
    ) / profile.mean_of  # fmt: skip
    shown_w = np.round(seen_w + rng.normal(0.0, 1.0, len(seen_w)), 3)
    looks_s = np.arange(0.2, 60.0, LOOK_S) + rng.uniform(0, 0.0002, len(np.arange(0.2, 60.0, LOOK_S)))
    true_j = np.concatenate([[0.0], np.cumsum((true_w[1:] + true_w[:-1]) / 2 * np.diff(truth_s))])
    counted_s = np.floor(looks_s / COUNTER_S) * COUNTER_S
    energy_j = np.floor((1e6 + np.interp(counted_s, truth_s, true_j)) / COUNTER_STEP_J) * COUNTER_STEP_J
    power_w = shown_w[np.searchsorted(updates_s, looks_s, side="right") - 1]
    return Recording(looks_s, power_w, energy_j, spans_s, phases_s)


def sensor(kernel, period_s, window_s, delay_s=0.004, mean_of=1):
    return SensorProfile(
        name="made", kernel=kernel, period_s=period_s, window_s=window_s, delay_s=delay_s, mean_of=mean_of
    )


QUADRO = sensor("boxcar", 0.1, 0.02)
AMPERE = sensor("first_order", 0.1012, 0.025, delay_s=0.017)


@cache
def known(made):
    """A recording by this sensor and the kernel found in it; nobody changes either."""
    recording = recording_of(made)
    return recording, kernel_of(recording)


@pytest.mark.parametrize(
    "made",
    [
        sensor("boxcar", 0.02, 0.01),  # Volta, Pascal
        QUADRO,
        AMPERE,
        sensor("first_order", 0.06, 0.4),  # an old board: slower than its own updates
    ],
    ids=lambda made: f"{made.kernel} {made.window_s} every {made.period_s}",
)
def test_period_kernel_window_delay_and_counter_of_a_made_sensor_are_found(made):
    recording, fit = known(made)
    found = findings_of(recording, fit)
    assert found.kernel == made.kernel
    assert found.distinguishable
    assert found.update_period_s.value == pytest.approx(made.period_s, rel=1e-4)
    assert found.window_s.value == pytest.approx(made.window_s, rel=0.05)
    assert found.delay_s.value == pytest.approx(made.delay_s, abs=3 * found.delay_s.u)
    assert found.counter_step_j == pytest.approx(COUNTER_STEP_J)
    assert found.counter_period_s.value == pytest.approx(COUNTER_S, rel=1e-4)


def test_a_mean_of_ten_full_readings_is_told_as_a_memory_of_one_second():
    recording = recording_of(sensor("boxcar", 0.1, 0.1, mean_of=10))
    found = findings_of(recording, kernel_of(recording))
    profile = profile_of(found, source_info(), "power.draw", 60.0, "2026-01-01")
    assert profile.memory_s == pytest.approx(1.0, rel=0.05)
    assert (profile.mean_of, profile.window_s) == (10, pytest.approx(0.1, rel=0.05))


def test_a_counter_that_sees_what_the_readings_miss_is_told_from_one_that_adds_them_up():
    recording, fit = known(AMPERE)
    found = findings_of(recording, fit)
    assert found.counter_integrates == "power"
    assert found.counter_follows.value == pytest.approx(0.0, abs=3 * found.counter_follows.u)
    # The same looks with a counter that holds every reading for its period.
    updates = power_updates(recording)
    shown = np.searchsorted(updates.t_s, recording.t_s, side="right")
    adding_j = np.concatenate([[0.0], np.cumsum(updates.readings * updates.period_s)])[shown]
    found = findings_of(replace(recording, energy_j=adding_j), fit)
    assert found.counter_integrates == "readings"
    assert found.counter_follows.value == pytest.approx(1.0, abs=3 * found.counter_follows.u)


def test_a_sensor_that_sees_all_of_the_time_cannot_tell_what_its_counter_adds_up():
    whole = sensor("boxcar", 0.1, 0.1)
    _, fit = known(QUADRO)
    found = findings_of(recording_of(whole), replace(fit, best=replace(fit.best, window_s=whole.window_s)))
    assert (found.counter_integrates, found.counter_follows) == (None, None)
    assert "counter-undecided" in [caveat.code for caveat in caveats_of(found, has_counter=True)]


def test_idle_before_right_after_and_settled_and_the_time_between_are_those_of_the_board():
    found = findings_of(recording_of(QUADRO, uplift_w=40.0), known(QUADRO)[1])
    assert found.idle_before_w.value == pytest.approx(50.0, abs=0.7)
    assert found.load_w.value == pytest.approx(350.0, abs=0.7)
    assert found.idle_settled_w.value == pytest.approx(50.0, abs=0.7)
    # 50 + 40 exp(-s / 0.7) on average from 0.12 to 1 s after the load.
    mean_w = 50 + 40 * 0.7 * (math.exp(-0.12 / 0.7) - math.exp(-1.0 / 0.7)) / 0.88
    assert found.idle_right_after_w.value == pytest.approx(mean_w, abs=2.0)
    # 40 exp(-s / 0.7) reaches 2 W after 0.7 ln 20 = 2.1 s and 1 W after 2.6 s; readings are smoothed over 0.5 s.
    assert 1.9 <= found.settle_s <= 3.1


def test_idle_that_has_not_settled_is_none_and_a_caveat():
    recording, fit = known(QUADRO)
    rest = (recording.t_s > 16.0) & (recording.t_s < 26.0)
    updated_s = PHASE_S + np.floor((recording.t_s - PHASE_S) / 0.1) * 0.1
    falling_w = recording.power_w + np.where(rest, 60.0 - 6.0 * (updated_s - 16.0), 0.0)
    found = findings_of(replace(recording, power_w=falling_w), fit)
    assert found.settle_s is None
    assert "not-settled" in [caveat.code for caveat in caveats_of(found, has_counter=True)]


def test_counter_and_readings_agree_within_their_uncertainty_or_a_caveat_says_by_how_much():
    recording, fit = known(QUADRO)
    found = findings_of(recording, fit)
    for agreement in (found.counter_under_load, found.counter_at_idle):
        assert abs(agreement.difference_fraction.value) <= 3 * agreement.difference_fraction.u
    assert found.counter_under_load.counter_w.value == pytest.approx(350.0, abs=0.5)
    assert "counter-disagrees-at-load" not in [caveat.code for caveat in caveats_of(found, True)]
    short_j = 1e6 + (recording.energy_j - 1e6) * 0.9
    found = findings_of(replace(recording, energy_j=short_j), fit)
    assert found.counter_under_load.difference_fraction.value == pytest.approx(-0.1, abs=0.005)
    assert {"counter-disagrees-at-load", "counter-disagrees-at-idle"} <= {each.code for each in caveats_of(found, True)}


def test_a_board_without_a_counter_has_none_of_its_figures():
    recording, fit = known(QUADRO)
    recording = replace(recording, energy_j=np.full_like(recording.energy_j, np.nan))
    found = findings_of(recording, fit)
    counter = (found.counter_step_j, found.counter_period_s, found.counter_under_load, found.counter_integrates)
    assert counter == (None, None, None, None)
    assert "no-counter" in [caveat.code for caveat in caveats_of(found, has_counter=False)]


def test_looks_that_come_too_seldom_are_a_caveat():
    recording, fit = known(QUADRO)
    seldom = slice(None, None, 19)  # every 32 ms
    thin = replace(
        recording, t_s=recording.t_s[seldom], power_w=recording.power_w[seldom], energy_j=recording.energy_j[seldom]
    )
    found = findings_of(thin, fit)
    assert found.update_period_s.value == pytest.approx(0.1, rel=1e-3)
    assert "slow-polling" in [caveat.code for caveat in caveats_of(found, has_counter=True)]


def test_readings_that_do_not_follow_the_load_give_no_profile():
    recording, _ = known(QUADRO)
    noise_w = np.repeat(np.random.default_rng(0).normal(50.0, 1.0, len(recording.t_s) // 60 + 1), 60)
    recording = replace(recording, power_w=noise_w[: len(recording.t_s)])
    with pytest.raises(MeasurementInvalid, match="does not follow the load"):
        kernel_of(recording)


def test_a_reading_that_never_changes_has_no_period():
    recording, _ = known(QUADRO)
    with pytest.raises(MeasurementInvalid, match="changed 0 times"):
        power_updates(replace(recording, power_w=np.full_like(recording.power_w, 50.0)))


def test_rise_is_when_the_reading_has_nearly_reached_its_end():
    looks_s = np.arange(0.0, 26.0, 0.01)
    power_w = np.interp(looks_s, [6.0, 7.0], [50.0, 350.0])  # a 1 s mean: 95 % after 0.95 s
    recording = Recording(
        looks_s, power_w, power_w * np.nan, np.array([[6.0, 16.0]]), {"idle": (0, 6), "load": (6, 16)}
    )
    assert rise_s(recording) == pytest.approx(0.95, abs=0.02)


def test_the_load_is_one_between_its_edges_and_zero_elsewhere():
    t_s, on = load_curve(np.array([[1.0, 2.0], [3.0, 3.25]]), 0.0, 4.0)
    assert np.all(np.diff(t_s) > 0)
    assert set(on) == {0.0, 1.0}
    assert np.sum((on[1:] + on[:-1]) / 2 * np.diff(t_s)) == pytest.approx(1.25, abs=1e-5)
    assert np.interp([0.5, 1.5, 2.5, 3.1, 3.9], t_s, on) == pytest.approx([0, 1, 0, 1, 0])


# --- the profile ----------------------------------------------------------------------------------------


def test_the_profile_holds_what_was_found_and_stays_uncalibrated():
    recording, fit = known(AMPERE)
    found = findings_of(recording, fit)
    info = source_info(device_name="NVIDIA TITAN X (Pascal)", driver="535.54.03", provenance="measured")
    profile = profile_of(found, info, "power.draw.instant", 60.0, "2026-01-02")
    assert (profile.kernel, profile.mean_of, profile.driver_branch) == ("first_order", 1, 535)
    assert profile.period_s == pytest.approx(found.update_period_s.value, rel=1e-5)
    assert profile.tau_s == pytest.approx(found.tau_s.value, rel=1e-5)
    assert (profile.gain, profile.offset_w, profile.calibrated, profile.simulated) == (1.0, 0.0, False, False)
    assert profile.matches == r"^NVIDIA TITAN X \(Pascal\)$"
    assert "no meter was used" in profile.not_trusted
    assert "2026-01-02" in profile.source


def test_every_quantity_is_explained_in_one_line():
    recording, fit = known(QUADRO)
    found = findings_of(recording, fit)
    explained = found.explained()
    assert set(explained) == set(found.model_dump())
    assert all(words and "\n" not in words for words in explained.values())
