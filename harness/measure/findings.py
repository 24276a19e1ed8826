"""What characterising a sensor found: every quantity explained, what to doubt, and the profile that runs use. Pure."""

from __future__ import annotations

import math
import re
from typing import Literal

from pydantic import Field

from harness.frozen import Frozen, Kernel
from harness.power.profiles import NvmlField, SensorProfile
from harness.records import Caveat, SourceInfo

MIN_POLLS_PER_PERIOD = 5.0  # protocol.md: poll at P/5 or faster
JITTER_FRACTION = 0.1
SEES_ALL = 0.9
MEAN_FROM_PERIODS = 3  # a boxcar this many periods wide is a driver's running mean, and runs must say so
WHOLE_TOLERANCE = 0.05
TOOL = "harness sensor characterize"


class Quantity(Frozen):
    """A value and its standard uncertainty, both in the unit of the name it stands under."""

    value: float
    u: float | None = None


class Agreement(Frozen):
    """Counter and power reading over one and the same stretch of steady power."""

    counter_w: Quantity = Field(description="counter difference over time")
    sampled_w: Quantity = Field(description="mean of the published readings")
    difference_fraction: Quantity = Field(description="counter less readings, as a fraction of the readings")


class SensorFindings(Frozen):
    """What `harness sensor characterize` found. Times in s, power in W, energy in J; `u` is a standard uncertainty."""

    poll_interval_s: float = Field(description="median time between two looks at the driver while this was found")
    update_period_s: Quantity = Field(description="the power reading is renewed this often")
    update_jitter_s: float = Field(description="scatter of the renewals about an even grid, polling included")
    kernel: Kernel = Field(description="how a reading weighs the past: boxcar = mean, first_order = fading memory")
    window_s: Quantity = Field(description="how much of the past one reading sees: boxcar width, or 2 tau")
    tau_s: Quantity | None = Field(description="time constant of a first-order kernel (half the window)")
    mean_of: int = Field(description="a reading is the mean of this many such looks, one per period")
    seen_fraction: float = Field(description="share of the time that any reading sees; the rest is invisible to power")
    delay_s: Quantity = Field(description="from the end of what a reading sees to the reading being visible")
    fit_rmse_w: float = Field(description="what the kernel found leaves unexplained of the square loads")
    runner_up: Kernel = Field(description="the other kernel")
    runner_up_rmse_w: float = Field(description="what the other kernel leaves unexplained")
    distinguishable: bool = Field(description="the square loads tell the two kernels apart")
    counter_step_j: float | None = Field(description="the energy counter moves in whole multiples of this")
    counter_period_s: Quantity | None = Field(description="the energy counter is renewed this often")
    counter_under_load: Agreement | None = Field(description="counter against power reading under steady load")
    counter_at_idle: Agreement | None = Field(description="counter against power reading at settled idle")
    counter_integrates: Literal["readings", "power"] | None = Field(
        description="whether the counter adds up the published readings or sees what they miss; none: cannot be told"
    )
    counter_follows: Quantity | None = Field(
        description="1: under a load in step with the sensor the counter errs as the readings do; 0: it does not err"
    )
    load_w: Quantity = Field(description="reading under the steady load (gain and offset unknown)")
    idle_before_w: Quantity = Field(description="reading at idle before any load")
    idle_right_after_w: Quantity = Field(description="reading in the first second after the steady load")
    idle_settled_w: Quantity = Field(description="reading at idle once settled after the load")
    settle_s: float | None = Field(description="time after the load until readings have come down to the settled idle")

    def explained(self) -> dict[str, str]:
        """One line on every quantity, by its name."""
        return {name: field.description or "" for name, field in type(self).model_fields.items()}


# --- what to doubt --------------------------------------------------------------------------------------


def caveats_of(findings: SensorFindings, has_counter: bool) -> tuple[Caveat, ...]:
    """What to doubt."""
    period_s, look_s = findings.update_period_s.value, findings.poll_interval_s
    found = [("uncalibrated", "No meter was used: gain and offset stay unknown (±5 % and ±3 W are assumed).")]
    if look_s * MIN_POLLS_PER_PERIOD > period_s:
        found.append(
            ("slow-polling", f"The driver answers every {look_s * 1000:.2g} ms: too seldom for a sensor of "
             f"{period_s * 1000:.3g} ms; period and delay are coarse."),
        )  # fmt: skip
    beyond_look_s = math.sqrt(max(0.0, findings.update_jitter_s**2 - look_s**2 / 12))
    if beyond_look_s > JITTER_FRACTION * period_s:
        found.append(("irregular-updates", f"Readings come {beyond_look_s * 1000:.2g} ms off an even grid."))
    if not findings.distinguishable:
        found.append(
            ("kernel-undecided", f"{findings.kernel} explains the readings hardly better than {findings.runner_up}.")
        )
    if findings.delay_s.value < -2 * (findings.delay_s.u or 0.0):
        early_ms = -findings.delay_s.value * 1000
        found.append(
            ("early-readings", f"Readings seem {early_ms:.2g} ms ahead of the load: its times are less exact.")
        )
    if findings.settle_s is None:
        found.append(
            ("not-settled", "Idle power had not settled when the rest after the load ended: give it more time.")
        )
    if not has_counter:
        found.append(("no-counter", "This board has no energy counter; its power is sampled."))
    elif findings.counter_integrates is None:
        found.append(("counter-undecided", _undecided(findings)))
    for name, agreement in (("load", findings.counter_under_load), ("idle", findings.counter_at_idle)):
        if agreement is not None and _disagrees(agreement):
            share = agreement.difference_fraction
            found.append(
                (f"counter-disagrees-at-{name}", f"At {name} the counter tells {share.value:+.1%} against the readings "
                 f"(standard uncertainty {share.u:.1%}): do not mix the two."),
            )  # fmt: skip
    return tuple(Caveat(code=code, message=message) for code, message in found)


def _undecided(findings: SensorFindings) -> str:
    if findings.counter_follows is not None:
        return f"The counter follows the readings' error by {findings.counter_follows.value:.0%}: neither of two kinds."
    if findings.seen_fraction > SEES_ALL:
        return "The readings see all of the time, so no load shows whether the counter sees more."
    return "Whether the counter sees what the readings miss could not be told: too few of its increments were seen."


def _disagrees(agreement: Agreement) -> bool:
    difference = agreement.difference_fraction
    return abs(difference.value) > max(0.01, 3 * (difference.u or 0.0))


# --- the profile ----------------------------------------------------------------------------------------


def profile_of(
    findings: SensorFindings, info: SourceInfo, nvml_field: NvmlField, duration_s: float, date: str
) -> SensorProfile:
    """The profile that runs use: shape and timing as found; gain and offset as unknown as before.

    Args:
        findings: What was found.
        info: The board.
        nvml_field: The field that was looked at.
        duration_s: How long the load pattern took.
        date: Day of the characterisation, ISO.
    """
    branch = re.match(r"\d+", info.driver or "")
    simulated = info.provenance == "simulated"
    board = f"{info.device_name}{' (simulated)' if simulated else ''}"
    other = f"{findings.runner_up} leaves {findings.runner_up_rmse_w:.3g} W"
    window_s, mean_of = _as_readings(findings)
    unsure = "" if findings.distinguishable else f"the kernel: {other}; "
    return SensorProfile(
        name=profile_name(info.device_name),
        matches="^" + re.sub(r"[\\.^$*+?{}\[\]|()]", r"\\\g<0>", info.device_name) + "$",
        nvml_field=nvml_field,
        driver_branch=int(branch.group()) if branch else None,
        kernel=findings.kernel,
        period_s=_rounded(findings.update_period_s.value),
        window_s=_rounded(window_s),
        delay_s=_rounded(max(0.0, findings.delay_s.value)),
        mean_of=mean_of,
        counter_step_j=findings.counter_step_j,
        counter_period_s=None if findings.counter_period_s is None else _rounded(findings.counter_period_s.value),
        counter_integrates=findings.counter_integrates,
        simulated=simulated,
        source=f"{TOOL}, {date}: {board}, {info.id}, driver {info.driver}, {duration_s:.0f} s",
        note=f"{findings.kernel} leaves {findings.fit_rmse_w:.3g} W of square loads unexplained, {other}",
        not_trusted=f"{unsure}gain and offset: no meter was used. The window includes how fast the board's own power "
        "follows its load",
    )


def _as_readings(findings: SensorFindings) -> tuple[float, int]:
    """Window and number of readings averaged: a mean over many periods is a mean of as many readings of one period."""
    window_s, period_s = findings.window_s.value, findings.update_period_s.value
    readings = round(window_s / period_s)
    whole = abs(window_s - readings * period_s) < WHOLE_TOLERANCE * window_s
    if findings.kernel == "boxcar" and findings.mean_of == 1 and readings >= MEAN_FROM_PERIODS and whole:
        return window_s / readings, readings
    return window_s, findings.mean_of


def _rounded(value: float) -> float:
    """As many digits as a person cares to read, far more than are known."""
    return float(f"{value:.6g}")


def profile_name(device_name: str) -> str:
    """A plain name for a board's profile and its file."""
    return re.sub(r"[^A-Za-z0-9]+", "-", device_name.removeprefix("NVIDIA ")).strip("-") + "-characterized"
