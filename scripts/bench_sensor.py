"""How fast the sensor model is: 60 s of truth at 5 kHz through each kernel, beside a plain Python loop.

    python scripts/bench_sensor.py [--json]

Target: under 50 ms for the whole trace. Vectorised model and loop answer the same question in the same process, in
turns; medians are printed, and the largest difference between their readings.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable

import numpy as np

from harness.power.profiles import SensorProfile
from harness.power.sensor import simulate_readings

TARGET_S = 0.050
TURNS, LOOP_TURNS = 15, 3
SENSORS = (
    SensorProfile(name="100 ms boxcar", kernel="boxcar", period_s=0.1, window_s=0.1, resolution_w=0),
    SensorProfile(name="10 ms boxcar", kernel="boxcar", period_s=0.02, window_s=0.01, resolution_w=0),
    SensorProfile(
        name="first order, tau 12.5 ms", kernel="first_order", period_s=0.1012, window_s=0.025, resolution_w=0
    ),
    SensorProfile(name="first order, tau 1 ms", kernel="first_order", period_s=0.02, window_s=0.002, resolution_w=0),
    SensorProfile(name="mean of ten boxcars", kernel="boxcar", period_s=0.1, window_s=0.1, mean_of=10, resolution_w=0),
)


def truth() -> tuple[np.ndarray, np.ndarray]:
    """60 s at 5 kHz of a bursty load with noise."""
    rng = np.random.default_rng(1)
    t_s = np.arange(300_000) / 5000
    return t_s, 60 + 200 * (t_s * 9.7 % 1 < 0.5) + rng.normal(0, 5, len(t_s))


def loop(t_s: list[float], power_w: list[float], sensor: SensorProfile) -> list[float]:
    """The same model, one sample after the other."""
    shown_w, due, filtered_w = [], 0, power_w[0]
    energy_j, energies_j = 0.0, [0.0]
    for index in range(1, len(t_s)):
        h_s, before_w, now_w = t_s[index] - t_s[index - 1], power_w[index - 1], power_w[index]
        if sensor.kernel == "boxcar":
            energy_j += (before_w + now_w) / 2 * h_s
            energies_j.append(energy_j)
        else:
            slope = (now_w - before_w) / h_s
            left = filtered_w - before_w + slope * sensor.tau_s
            while due * sensor.period_s < t_s[index]:
                since_s = due * sensor.period_s - t_s[index - 1]
                value_w = before_w + slope * (since_s - sensor.tau_s) + left * math.exp(-since_s / sensor.tau_s)
                shown_w.append(power_w[0] if due == 0 else value_w)
                due += 1
            filtered_w = now_w - slope * sensor.tau_s + left * math.exp(-h_s / sensor.tau_s)
    if sensor.kernel == "first_order":
        return shown_w

    def until_j(at_s: float) -> float:
        if at_s <= t_s[0]:
            return power_w[0] * (at_s - t_s[0])
        index = min(int(at_s * 5000 + 1e-9), len(t_s) - 2)
        since_s = at_s - t_s[index]
        slope = (power_w[index + 1] - power_w[index]) / (t_s[index + 1] - t_s[index])
        return energies_j[index] + (power_w[index] + slope * since_s / 2) * since_s

    def mean_w(at_s: float) -> float:
        return (until_j(at_s) - until_j(at_s - sensor.window_s)) / sensor.window_s

    while due * sensor.period_s <= t_s[-1]:
        span = [mean_w((due - back) * sensor.period_s) for back in range(sensor.mean_of)]
        shown_w.append(sum(span) / len(span))
        due += 1
    return shown_w


def timed(call: Callable[[], object]) -> float:
    start_s = time.perf_counter()
    call()
    return time.perf_counter() - start_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    t_s, power_w = truth()
    plain_t_s, plain_w = t_s.tolist(), power_w.tolist()
    rows = []
    for sensor in SENSORS:
        model_s, loop_s = [], []
        for turn in range(TURNS):
            model_s.append(timed(lambda sensor=sensor: simulate_readings(t_s, power_w, sensor)))
            if turn < LOOP_TURNS:
                loop_s.append(timed(lambda sensor=sensor: loop(plain_t_s, plain_w, sensor)))
        shown_w, slow_w = simulate_readings(t_s, power_w, sensor).power_w, loop(plain_t_s, plain_w, sensor)
        count = min(len(shown_w), len(slow_w))
        rows.append(
            {
                "sensor": sensor.name,
                "samples": len(t_s),
                "readings": len(shown_w),
                "model_ms": statistics.median(model_s) * 1000,
                "model_max_ms": max(model_s) * 1000,
                "loop_ms": statistics.median(loop_s) * 1000,
                "ratio": statistics.median(loop_s) / statistics.median(model_s),
                "largest_difference_w": float(np.max(np.abs(shown_w[:count] - np.array(slow_w[:count])))),
                "under_target": statistics.median(model_s) < TARGET_S,
            }
        )
    if as_json:
        print(json.dumps({"target_ms": TARGET_S * 1000, "rows": rows}, indent=2))
        return
    print(f"60 s of truth at 5 kHz; medians of {TURNS} turns (loop: {LOOP_TURNS}); target under {TARGET_S * 1000:g} ms")
    for row in rows:
        print(
            f"{row['sensor']:>25}: {row['model_ms']:6.2f} ms (worst {row['model_max_ms']:.2f}), loop "
            f"{row['loop_ms']:7.1f} ms, {row['ratio']:3.0f} times; apart {row['largest_difference_w']:.0e} W"
        )


if __name__ == "__main__":
    main()
