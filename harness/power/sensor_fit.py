"""Which sensor turns this truth into these readings: kernel, window, delay, gain and offset, each with its doubt. Pure.

Two kernels are told apart by how much worse the second one does, weighed against residuals that stick together
(Vuong, Econometrica 57, 1989; effective sample size instead of n). Uncertainties are those of the linearised least
squares, widened the same way; the meter's own is not among them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from harness.errors import UserInputError
from harness.power.profiles import UNCALIBRATED_OFFSET_U_W, NvmlField, SensorProfile
from harness.power.publications import publications
from harness.power.recording import COARSEST_TRUTH_S
from harness.power.sensor_search import (
    EARLIEST_DELAY_S,
    EDGE_S,
    KERNELS,
    LONGEST_WINDOW_S,
    SHORTEST_WINDOW_S,
    FitProblem,
    KernelFit,
    best_fit,
    best_mean,
    mended_rate,
    polished,
)
from harness.stats import FloatArray, effective_sample_size

MIN_READINGS = 8
LONG_WINDOW_PERIODS = 2.5  # a boxcar over more periods than this is a mean of readings
DOCUMENTED_MEAN_S = 1.0  # nvmlDeviceGetPowerUsage: averaged over 1 s on Ampere (except GA100) and newer
WELL_EXPLAINED = 0.95  # of the readings' variance: with less, a mean of short windows is tried too
MOST_MEAN_OF = 15  # boards with a documented mean renew it every 100 ms
LEAST_CHANGE_W, LEAST_CHANGE_FRACTION = 15.0, 0.1  # a sensor that sees less change than this sees steady power
LEAST_EXPLAINED = 0.5
BIG_STEP = 0.25  # of the readings' range, from one to the next: the load stepped there
BEAT_HINT = "record a load whose period is close to the sensor's."
LEAST_RMSE_W = 0.001  # NVML's unit
MIN_LOG_ODDS, MIN_VUONG = (
    5.0,
    1.96,
)  # told apart: odds of e^5 on the effective sample, and 5 % by Vuong's two-sided test
METER_GAIN_U = 0.005  # the least doubt after calibration against a meter (protocol: 0.005 to 0.01)


@dataclass(frozen=True)
class SensorFit:
    """What two recordings say about a sensor.

    `best`, `second`: the better kernel and the best of the other one. `u`: standard uncertainties of window_s, delay_s,
    gain and offset_w of `best`; empty where the data give none. `period_s`, `period_u_s`, `phase_s`: readings are
    published at phase + k period; None where polls do not show it. `spans`: how many update periods one reading reaches
    over (1: an instant). `n`, `n_effective`: readings used, and what they are worth when neighbouring residuals agree.
    `r_squared`: share of the readings' variance that the best kernel explains. `told`: power changed enough, and
    a kernel explains the readings; otherwise no parameter is known.
    """

    best: KernelFit
    second: KernelFit
    u: dict[str, float]
    step_s: float
    period_s: float | None
    period_u_s: float | None
    phase_s: float | None
    spans: int
    n: int
    n_effective: float
    r_squared: float
    log_odds: float
    vuong: float
    told: bool
    distinguishable: bool
    message: str


def fit_sensor(truth_s: FloatArray, truth_w: FloatArray, polled_s: FloatArray, polled_w: FloatArray) -> SensorFit:
    """Find the sensor between a meter's recording and a polled column.

    Args:
        truth_s: Meter: seconds, strictly rising, shape (n,).
        truth_w: Meter: watts, shape (n,).
        polled_s: Polls of the driver on the same clock: seconds, strictly rising, shape (m,).
        polled_w: What they showed, watts, shape (m,); repeats included.

    Raises:
        UserInputError: The recordings share too little time, or the truth is too coarse.
    """
    step_s = float(np.median(np.diff(truth_s)))
    if step_s > COARSEST_TRUTH_S:
        raise UserInputError(
            f"The truth is sampled every {step_s:.3g} s: too seldom to show what a power sensor does.",
            f"Record the meter every {COARSEST_TRUTH_S:g} s or faster; 0.001 s shows every kernel on record.",
        )
    timing = publications(polled_s, polled_w)
    at_s, readings_w, period_s, phase_s = timing.t_s, timing.readings, timing.period_s, timing.phase_s
    if len(at_s) < MIN_READINGS:  # nothing changed: then every poll is as good as a publication
        at_s, readings_w = polled_s, polled_w
    shared = (at_s > truth_s[0] + EDGE_S) & (at_s < truth_s[-1] + EARLIEST_DELAY_S)
    if shared.sum() < MIN_READINGS:
        both_s = max(0.0, float(min(truth_s[-1], polled_s[-1]) - max(truth_s[0], polled_s[0])))
        raise UserInputError(
            f"Truth and readings share {both_s:.3g} s with {int(shared.sum())} readings; "
            f"a fit needs at least {MIN_READINGS}.",
            "Give two recordings of the same time, on one clock, many update periods long.",
        )
    problem = FitProblem(truth_s, truth_w, at_s[shared], readings_w[shared])
    shortest_s = max(SHORTEST_WINDOW_S, 2 * step_s)
    longest_s = max(2 * shortest_s, min(LONGEST_WINDOW_S, float(truth_s[-1] - truth_s[0]) / 2))
    fits = [best_fit(problem, kernel, shortest_s, longest_s) for kernel in KERNELS]
    if period_s is not None and phase_s is not None and timing.period_u_s is not None:
        middle_s, first = float(problem.at_s.mean()), min(fits, key=lambda fit: fit.rmse_w)
        problem, rate = mended_rate(problem, first, period_s, timing.period_u_s)
        period_s, phase_s = period_s * rate, middle_s + (phase_s - middle_s) * rate
        phase_s %= period_s
    best, second = sorted((polished(problem, fit, 0.0) for fit in fits), key=lambda fit: fit.rmse_w)
    spans = 1
    if period_s is not None:
        best, second, spans = _as_mean(problem, best, second, period_s)
    return _judged(problem, best, second, _Timing(timing.step_s, period_s, timing.period_u_s, phase_s), spans)


class _Timing(NamedTuple):
    """Polling step, and the grid of publications where one shows, seconds."""

    step_s: float
    period_s: float | None
    period_u_s: float | None
    phase_s: float | None


def _as_mean(
    problem: FitProblem, best: KernelFit, second: KernelFit, period_s: float
) -> tuple[KernelFit, KernelFit, int]:
    """Is a reading a mean of several? (best, second, periods spanned), unchanged with 1 where it is none."""
    wide = best.kernel == "boxcar" and best.window_s > LONG_WINDOW_PERIODS * period_s
    if wide:
        about, delays_s = best.window_s / period_s, (best.delay_s - period_s, best.delay_s + period_s)
    elif best.rmse_w**2 > (1 - WELL_EXPLAINED) * float(np.var(problem.readings_w)):
        # NVML documents a mean over 1 s. Separate short windows, when they beat with the load, resemble no wide one.
        about, delays_s = DOCUMENTED_MEAN_S / period_s, (EARLIEST_DELAY_S, period_s)
    else:
        return best, second, 1
    if not LONG_WINDOW_PERIODS < about < MOST_MEAN_OF or not _seen_range(problem, best, period_s)[2]:
        return best, second, round(about) if wide else 1
    mean = best_mean(problem, about, delays_s, period_s)
    if mean.rmse_w < best.rmse_w:
        log_odds, vuong = _odds(mean, best, effective_sample_size(mean.residuals_w))
        if log_odds >= MIN_LOG_ODDS and vuong >= MIN_VUONG:
            return mean, best if best.kernel == "first_order" else second, mean.mean_of
    return best, second, round(about) if wide else 1


# --- how far to believe it ------------------------------------------------------------------------------


def _judged(
    problem: FitProblem,
    best: KernelFit,
    second: KernelFit,
    timing: _Timing,
    spans: int,
) -> SensorFit:
    n = len(problem.readings_w)
    n_effective = min(float(n), effective_sample_size(best.residuals_w))
    variance = float(np.var(problem.readings_w))
    changes = variance > LEAST_RMSE_W**2
    r_squared = 1 - best.rmse_w**2 / variance if changes else 0.0
    log_odds, vuong = _odds(best, second, n_effective)
    low_w, high_w, excited = _seen_range(problem, best, timing.period_s or 0.0)
    explained = changes and r_squared >= LEAST_EXPLAINED
    distinguishable = excited and explained and log_odds >= MIN_LOG_ODDS and vuong >= MIN_VUONG
    if not excited:
        message = (
            f"Power hardly changed (the sensor saw {low_w:.1f} to {high_w:.1f} W), "
            "so kernel, delay, gain and offset cannot be told; record a load that goes on and off."
        )
    elif not changes:
        message = (
            f"The readings stay at {float(problem.readings_w[0]):.4g} W while power changes: they tell nothing of it. "
            "Is this the column of the board that worked?"
        )
    elif not explained:
        message = (
            f"No kernel explains these readings (the best one {100 * max(0.0, r_squared):.0f} % of their variance); "
            "are both files of one board, on one clock?"
        )
    elif not distinguishable:
        message = (
            f"The data cannot tell the kernels apart: {best.kernel} misses by {best.rmse_w:.2f} W and "
            f"{second.kernel} by {second.rmse_w:.2f} W (RMSE); "
            + ("poll faster, the update period does not show." if timing.period_s is None else BEAT_HINT)
        )
    else:
        message = f"{best.kernel} misses by {best.rmse_w:.2f} W, {second.kernel} by {second.rmse_w:.2f} W (RMSE)."
    if spans > 1 and excited and explained:
        message += f" Each reading is a mean over about {spans} update periods, not an instant."
    u = (
        _uncertainties(problem, best, timing.period_s or 0.0, n_effective, timing.step_s)
        if excited and explained
        else {}
    )
    return SensorFit(
        best=best,
        second=second,
        u=u,
        step_s=timing.step_s,
        period_s=timing.period_s,
        period_u_s=timing.period_u_s,
        phase_s=timing.phase_s,
        spans=spans,
        n=n,
        n_effective=n_effective,
        r_squared=r_squared,
        log_odds=log_odds,
        vuong=vuong,
        told=excited and explained,
        distinguishable=distinguishable,
        message=message,
    )


def _seen_range(problem: FitProblem, fit: KernelFit, period_s: float) -> tuple[float, float, bool]:
    """Least and most power that the kernel saw, watts, and whether that is a change to learn from."""
    seen_w = problem.predictors(fit.kernel, fit.window_s, np.array([fit.delay_s]), fit.mean_of, period_s)
    low_w, high_w = float(seen_w.min()), float(seen_w.max())
    return low_w, high_w, high_w - low_w >= max(LEAST_CHANGE_W, LEAST_CHANGE_FRACTION * float(seen_w.mean()))


def _odds(best: KernelFit, second: KernelFit, n_effective: float) -> tuple[float, float]:
    """Log odds of the better kernel on the effective sample, and Vuong's statistic for correlated differences."""
    one, two = (max(fit.rmse_w, LEAST_RMSE_W) ** 2 for fit in (best, second))
    if one == two:
        return 0.0, 0.0
    difference = math.log(two / one) / 2 + second.residuals_w**2 / (2 * two) - best.residuals_w**2 / (2 * one)
    spread = float(np.std(difference))
    worth = effective_sample_size(difference)
    vuong = float(np.mean(difference)) / spread * math.sqrt(worth) if spread > 0 else math.inf
    return n_effective / 2 * math.log(two / one), vuong


def _uncertainties(
    problem: FitProblem, fit: KernelFit, period_s: float, n_effective: float, step_s: float
) -> dict[str, float]:
    """Standard uncertainties from the linearised model, widened by the residuals' correlation; empty if singular.

    When a reading was published is known to the poll that first showed it, a rectangle of one polling step. The grid of
    publications averages that only where polls and publications do not keep step, so the delay has all of it. A
    window takes it from each step of the load, and those fall where they like: as many as there are share it.
    """

    def seen_w(window_s: float, delay_s: float) -> FloatArray:
        seen: FloatArray = problem.predictors(fit.kernel, window_s, np.array([delay_s]), fit.mean_of, period_s)[0]
        return seen

    window_step_s, delay_step_s = 0.02 * fit.window_s, max(0.0005, 0.02 * fit.window_s)
    columns = [
        fit.gain
        * (seen_w(fit.window_s + window_step_s, fit.delay_s) - seen_w(fit.window_s - window_step_s, fit.delay_s))
        / (2 * window_step_s),
        fit.gain
        * (seen_w(fit.window_s, fit.delay_s + delay_step_s) - seen_w(fit.window_s, fit.delay_s - delay_step_s))
        / (2 * delay_step_s),
        seen_w(fit.window_s, fit.delay_s),
        np.ones(len(fit.residuals_w)),
    ]
    scales = [float(np.linalg.norm(column)) for column in columns]
    if min(scales) <= 0:
        return {}
    jacobian = np.stack([column / scale for column, scale in zip(columns, scales, strict=True)], axis=1)
    squares = jacobian.T @ jacobian
    if np.linalg.cond(squares) > 1e13:
        return {}
    n = len(fit.residuals_w)
    variance = max(fit.rmse_w, LEAST_RMSE_W) ** 2 * n / max(n - 4, 1) * n / n_effective
    diagonal = np.diag(np.linalg.inv(squares)) * variance
    names = ("window_s", "delay_s", "gain", "offset_w")
    u = {
        name: math.sqrt(max(0.0, float(each))) / scale
        for name, each, scale in zip(names, diagonal, scales, strict=True)
    }
    poll_u_s = step_s / math.sqrt(12)
    big = np.abs(np.diff(problem.readings_w)) > BIG_STEP * float(np.ptp(problem.readings_w))
    return u | {
        "delay_s": math.hypot(u["delay_s"], poll_u_s),
        "window_s": math.hypot(u["window_s"], poll_u_s / math.sqrt(max(1, int(big.sum())))),
    }


# --- in other forms -------------------------------------------------------------------------------------


def fit_document(fit: SensorFit) -> dict[str, Any]:
    """The fit as a JSON document: SI units, `_u` after a key is its standard uncertainty, null is not known.

    Where a reading is a mean of several (`mean_of` > 1) `width_s` is how far it reaches back in all, and `averaged`
    tells the kernel of each averaged reading where the data show it.
    """
    best, told = fit.best, fit.told
    document: dict[str, Any] = {"kernel": best.kernel}
    if best.mean_of > 1 and fit.period_s is not None:
        document["kernel"] = "boxcar"
        document["width_s"] = (best.mean_of - 1) * fit.period_s + best.window_s
        document["width_s_u"] = fit.u.get("window_s")
        document["averaged"] = _kernel_entry(best) | {"mean_of": best.mean_of}
    else:
        entry = _kernel_entry(best)
        key = "width_s" if "width_s" in entry else "tau_s"
        u = fit.u.get("window_s")
        document[key] = entry[key] if told else None
        document[f"{key}_u"] = u if key == "width_s" or u is None else u / 2
    return document | {
        "mean_of": fit.spans,
        "period_s": fit.period_s,
        "period_s_u": fit.period_u_s,
        "phase_s": fit.phase_s,
        "delay_s": best.delay_s if told else None,
        "delay_s_u": fit.u.get("delay_s"),
        "gain": best.gain if told else None,
        "gain_u": fit.u.get("gain"),
        "offset_w": best.offset_w if told else None,
        "offset_w_u": fit.u.get("offset_w"),
        "rmse_w": best.rmse_w,
        "runner_up": _kernel_entry(fit.second) | {"rmse_w": fit.second.rmse_w},
        "distinguishable": fit.distinguishable,
        "r_squared": fit.r_squared,
        "log_odds": fit.log_odds,
        "vuong": fit.vuong if math.isfinite(fit.vuong) else None,
        "n": fit.n,
        "n_effective": fit.n_effective,
        "polling_step_s": fit.step_s,
        "message": fit.message,
    }


def _kernel_entry(fit: KernelFit) -> dict[str, Any]:
    if fit.kernel == "boxcar":
        return {"kernel": fit.kernel, "width_s": fit.window_s}
    return {"kernel": fit.kernel, "tau_s": fit.window_s / 2}


def fit_profile(fit: SensorFit, name: str, source: str, nvml_field: NvmlField = "power.draw.instant") -> SensorProfile:
    """The fit as a profile that `simulate`, `integrate` and `run` take; gain and offset are this board's own.

    Args:
        fit: A fit that tells a sensor.
        name: Of the profile.
        source: Where the recordings come from.
        nvml_field: Which of NVML's readings was recorded.

    Raises:
        UserInputError: Power changed too little, or the polls do not show the update period.
    """
    gain_u, offset_u_w = fit.u.get("gain"), fit.u.get("offset_w")
    if not fit.told or fit.period_s is None or gain_u is None:
        reason = fit.message if not fit.told else "The polls do not show how often the reading is renewed."
        raise UserInputError(f"These recordings do not give a profile. {reason}", "Record again, polling faster.")
    best = fit.best
    notes = [fit.message]
    if best.delay_s < 0:
        notes.append(f"The fitted delay is {best.delay_s * 1000:.1f} ms: the meter's and the driver's clocks differ.")
    return SensorProfile(
        name=name,
        nvml_field=nvml_field,
        kernel=best.kernel,
        period_s=fit.period_s,
        window_s=best.window_s,
        delay_s=best.delay_s,
        mean_of=best.mean_of,
        gain=best.gain,
        offset_w=best.offset_w,
        gain_relative_u=math.hypot(gain_u / best.gain, METER_GAIN_U),
        offset_u_w=min(offset_u_w if offset_u_w is not None else math.inf, UNCALIBRATED_OFFSET_U_W),
        source=source,
        note=" ".join(notes),
        not_trusted="" if fit.distinguishable else "the kernel: the data cannot tell it",
    )


def field_of_column(column: str, spans: int) -> NvmlField:
    """NVML's field that a column is likely to hold: by its name, or a mean of several readings by its behaviour."""
    name = column.lower()
    if "average" in name or spans > 1:
        return "power.draw.average"
    return "power.draw.instant" if "instant" in name else "power.draw"
