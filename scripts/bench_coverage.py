"""How often the 95 % interval of `harness sensor integrate` covers the truth, by kind of load and of sensor.

    python scripts/bench_coverage.py [--windows 2000] [--seed 1] [--json]

Every window is a recording of its own: rest, a random load, rest; a simulated sensor with random period, phase, kernel
and coverage, whose true gain and offset are drawn from the stated doubt about them; polls every few milliseconds; and a
random window, either within the load or from rest to rest. The same seed gives the same numbers.

Loads `locked` keep within 1 % of a multiple or a fraction of the sensor's period. There the data cannot tell the
energy; what counts is that no interval fails without a Caveat (`silent`: misses by more than twice the interval's width
and without one).
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.measure.energy import integrate_power
from harness.measure.sampled import SampledEnergy, integrate_readings, kernel_lag
from harness.measure.sensor_evidence import CALIBRATED_GAIN_U, CALIBRATED_OFFSET_U_W, published
from harness.power.profiles import SensorProfile
from harness.power.sensor import simulate_readings

STEP_S = 0.0005
REST_S = 1.5
WATCHED = {"lock-in-suspected", "lock-in-not-excluded", "few-readings", "too-short", "average-edges"}

Load = Callable[[np.random.Generator, np.ndarray, SensorProfile], np.ndarray]


@dataclass(frozen=True)
class Outcome:
    """One window: its class, truth and what was said about it."""

    load: str
    sensor: str
    truth_j: float
    answer: SampledEnergy

    @property
    def covered(self) -> bool:
        low_j, high_j = self.answer.interval_j or (0.0, self.answer.upper_bound_j or 0.0)
        return low_j <= self.truth_j <= high_j

    @property
    def silent(self) -> bool:
        low_j, high_j = self.answer.interval_j or (0.0, self.answer.upper_bound_j or 0.0)
        away_j = max(low_j - self.truth_j, self.truth_j - high_j)
        return away_j > 2 * (high_j - low_j) and not WATCHED & {each.code for each in self.answer.caveats}


# --- loads: watts at times t_s >= 0 ----------------------------------------------------------------------


def steady(rng: np.random.Generator, t_s: np.ndarray, sensor: SensorProfile) -> np.ndarray:
    """One level, warming up by a few per cent."""
    return rng.uniform(150, 400) * (1 - rng.uniform(0, 0.04) * np.exp(-t_s / rng.uniform(1, 20)))


def square(rng: np.random.Generator, t_s: np.ndarray, sensor: SensorProfile) -> np.ndarray:
    """On and off with a random period, 5 ms to 3 s, and a random duty."""
    return _square(rng, t_s, float(np.exp(rng.uniform(np.log(0.005), np.log(3)))))


def locked(rng: np.random.Generator, t_s: np.ndarray, sensor: SensorProfile) -> np.ndarray:
    """On and off within 1 % of a multiple or a fraction of the sensor's period."""
    times = rng.choice([1.0, 1.0, 1.0, 2.0, 3.0, 0.5, 1 / 3])
    return _square(rng, t_s, sensor.period_s * float(times) * (1 + rng.uniform(-0.01, 0.01)))


def _square(rng: np.random.Generator, t_s: np.ndarray, period_s: float) -> np.ndarray:
    low_w = rng.uniform(50, 150)
    phase, duty = rng.uniform(), rng.uniform(0.1, 0.9)
    return low_w + rng.uniform(50, 250) * (((t_s / period_s + phase) % 1) < duty)


def wandering(rng: np.random.Generator, t_s: np.ndarray, sensor: SensorProfile) -> np.ndarray:
    """A random walk that returns to its mean, with a memory of 20 ms to 3 s."""
    memory_s = float(np.exp(rng.uniform(np.log(0.02), np.log(3))))
    keep = np.exp(-STEP_S / memory_s)
    pushes = rng.normal(0, np.sqrt(1 - keep**2), len(t_s))
    pushes[0] = rng.normal()
    blocks = np.empty(len(t_s))
    value = 0.0
    for index, push in enumerate(pushes.tolist()):
        value = keep * value + push
        blocks[index] = value
    mean_w = rng.uniform(150, 350)
    return np.maximum(40.0, mean_w * (1 + rng.uniform(0.03, 0.25) * blocks))


def decoding(rng: np.random.Generator, t_s: np.ndarray, sensor: SensorProfile) -> np.ndarray:
    """Requests of a language model one after another: a short prefill, then steps of 8 to 60 ms, then a short wait."""
    high_w, low_w, rest_w = rng.uniform(280, 400), rng.uniform(150, 260), rng.uniform(60, 120)
    step_s, dip = rng.uniform(0.008, 0.06), rng.uniform(0.05, 0.3)
    power_w = np.empty(len(t_s))
    at_s = -rng.uniform(0, 2)
    while at_s < t_s[-1] + STEP_S:
        prefill_s, decode_s, wait_s = rng.uniform(0.03, 0.2), rng.uniform(0.3, 4), rng.uniform(0, 0.15)
        marks = np.searchsorted(t_s, [at_s, at_s + prefill_s, at_s + prefill_s + decode_s])
        end = np.searchsorted(t_s, at_s + prefill_s + decode_s + wait_s)
        power_w[marks[0] : marks[1]] = high_w
        since_s = t_s[marks[1] : marks[2]] - at_s - prefill_s
        power_w[marks[1] : marks[2]] = low_w * np.where((since_s / step_s) % 1 < dip, 0.7, 1.0)
        power_w[marks[2] : end] = rest_w
        at_s += prefill_s + decode_s + wait_s
    return power_w


LOADS: dict[str, Load] = {
    "steady": steady,
    "square": square,
    "wandering": wandering,
    "decoding": decoding,
    "locked": locked,
}


# --- sensors ---------------------------------------------------------------------------------------------


def sensors(rng: np.random.Generator) -> dict[str, SensorProfile]:
    """One of each kind, with random period and coverage."""
    period_s = float(rng.uniform(0.02, 0.105))
    seen = {
        "first order": ("first_order", rng.uniform(0.15, 0.6)),
        "narrow boxcar": ("boxcar", rng.uniform(0.15, 0.7)),
        "full boxcar": ("boxcar", 1.0),
    }
    return {
        name: SensorProfile(
            name=name,
            kernel=kernel,
            period_s=period_s,
            window_s=float(share * period_s),
            gain=float(rng.uniform(0.93, 1.06)),
            offset_w=float(rng.uniform(-8, 8)),
            gain_relative_u=CALIBRATED_GAIN_U,
            offset_u_w=CALIBRATED_OFFSET_U_W,
        )
        for name, (kernel, share) in seen.items()
    }


# --- one window ------------------------------------------------------------------------------------------


def outcome(seed: int, number: int) -> Outcome:
    """Window number `number` of a seed: kinds take turns, everything else is drawn."""
    rng = np.random.default_rng([seed, number])
    load = list(LOADS)[number % len(LOADS)]
    sensor_name = list(sensors(np.random.default_rng(0)))[number // len(LOADS) % 3]
    sensor = sensors(rng)[sensor_name]
    duration_s = float(np.exp(rng.uniform(np.log(0.5), np.log(30))))
    padded = rng.random() < 0.4
    around_s = 0.0 if padded else rng.uniform(0.0, 3.0)
    load_s = duration_s + around_s if not padded else max(0.3, duration_s - rng.uniform(0.1, 1.0))
    t_s = np.arange(-REST_S, load_s + REST_S, STEP_S)
    working = (t_s >= 0) & (t_s < load_s)
    power_w = np.full(len(t_s), rng.uniform(20, 60))
    power_w[working] = LOADS[load](rng, t_s[working], sensor)
    start_s = -rng.uniform(0.05, min(0.9, duration_s - load_s)) if padded else rng.uniform(0, around_s)
    start_s, end_s = float(start_s), float(start_s + duration_s)
    true_sensor = sensor.model_copy(
        update={
            "gain": sensor.gain * (1 + rng.normal(0, sensor.gain_relative_u)),
            "offset_w": sensor.offset_w + rng.normal(0, sensor.offset_u_w),
        }
    )
    readings = simulate_readings(t_s, power_w, true_sensor, float(rng.uniform(0, sensor.period_s)))
    polls_s = np.arange(t_s[0] + 0.2, t_s[-1], rng.uniform(0.002, 0.013))
    polls_s = polls_s + rng.uniform(0, 0.001, len(polls_s))
    shown_w = (
        readings.at(polls_s)
        + np.round(rng.normal(0, 0.15, len(readings.t_s)), 3)[
            np.maximum(np.searchsorted(readings.t_s, polls_s, side="right") - 1, 0)
        ]
    )  # boards' readings are never quite still
    lag = kernel_lag(sensor, published(polls_s, shown_w, sensor.period_s).late_s)
    answer = integrate_readings(polls_s, shown_w, start_s, end_s, sensor, lag)
    return Outcome(load, sensor_name, integrate_power(t_s, power_w, start_s, end_s), answer)


# --- summary ---------------------------------------------------------------------------------------------


def summary(outcomes: list[Outcome]) -> dict[str, object]:
    """Coverage and widths of a group of windows; those without an energy are counted apart."""
    stated = [each for each in outcomes if each.answer.energy_j is not None]
    half = [
        (each.answer.interval_j[1] - each.answer.interval_j[0]) / 2 / each.truth_j
        for each in stated
        if each.answer.interval_j is not None
    ]
    error = [abs(each.answer.energy_j / each.truth_j - 1) for each in stated if each.answer.energy_j is not None]
    bounded = [each for each in outcomes if each.answer.energy_j is None]
    return {
        "windows": len(stated),
        "coverage": round(sum(each.covered for each in stated) / len(stated), 4) if stated else None,
        "median_half_width": round(statistics.median(half), 4) if half else None,
        "p95_half_width": round(float(np.quantile(half, 0.95)), 4) if half else None,
        "median_error": round(statistics.median(error), 4) if error else None,
        "p95_error": round(float(np.quantile(error, 0.95)), 4) if error else None,
        "silent": sum(each.silent for each in outcomes),
        "bounds": len(bounded),
        "bounds_held": sum(each.covered for each in bounded),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    outcomes = [outcome(arguments.seed, number) for number in range(arguments.windows)]
    groups: dict[str, list[Outcome]] = {"all but locked": [each for each in outcomes if each.load != "locked"]}
    for each in outcomes:
        groups.setdefault(each.load, []).append(each)
        groups.setdefault(f"{each.load} / {each.sensor}", []).append(each)
    table = {name: summary(groups[name]) for name in sorted(groups, key=lambda name: (name.count("/"), name))}
    if arguments.json:
        print(json.dumps({"seed": arguments.seed, "windows": arguments.windows, "groups": table}, indent=2))
        return
    print(f"{'':28}{'windows':>8}{'covered':>9}{'half width':>12}{'(p95)':>8}{'error':>8}{'(p95)':>8}{'silent':>8}")
    for name, row in table.items():
        if row["windows"]:
            print(
                f"{name:28}{row['windows']:>8}{row['coverage']:>9.1%}{row['median_half_width']:>12.2%}"
                f"{row['p95_half_width']:>8.1%}{row['median_error']:>8.2%}{row['p95_error']:>8.1%}{row['silent']:>8}"
            )


if __name__ == "__main__":
    main()
