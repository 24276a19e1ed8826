"""The search behind `harness sensor fit`: the window and delay with which a kernel explains readings best. Pure.

Every publication gives one equation, reading = gain * kernel(truth)(t - delay) + offset. Gain and offset are linear
least squares inside a search over (window, delay): a grid over all of both first, so that no start has to be guessed,
then a shrinking pattern around the best places.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from harness.frozen import Kernel
from harness.power.sensor import BoxcarResponse, FirstOrderResponse, IndexArray, samples_before
from harness.stats import FloatArray

KERNELS: tuple[Kernel, ...] = ("boxcar", "first_order")
SHORTEST_WINDOW_S, LONGEST_WINDOW_S = 0.001, 3.0
WINDOWS_PER_DECADE = 16
EARLIEST_DELAY_S, LATEST_DELAY_S = -0.06, 0.6  # negative: the two files' clocks may differ by some milliseconds
DELAY_STEP_S, LONGEST_DELAY_STEP_S = 0.002, 0.005
COARSE_READINGS = 160  # enough for the grid; the last polish takes all
STARTS = 5
EDGE_S = 0.05  # what stands before the truth is the mean of its first 50 ms
MEAN_WINDOWS = 10
MEND_S, MEND_STEP_S = 0.004, 0.0002  # delays tried beside the first one while the clock rate is mended

Response = Callable[[FloatArray, IndexArray | None], FloatArray]  # of times, and where they lie in the truth


@dataclass(frozen=True)
class KernelFit:
    """One kernel's best fit. `window_s` is the boxcar's width or 2 tau; of each averaged reading where mean_of > 1."""

    kernel: Kernel
    window_s: float
    delay_s: float
    mean_of: int
    gain: float
    offset_w: float
    rmse_w: float
    residuals_w: FloatArray


class FitProblem:
    """Truth and readings, ready to be asked how well a sensor explains them."""

    def __init__(self, t_s: FloatArray, power_w: FloatArray, at_s: FloatArray, readings_w: FloatArray) -> None:
        power_w = power_w.copy()
        power_w[0] = float(np.mean(power_w[t_s <= t_s[0] + EDGE_S]))
        power_w[-1] = float(np.mean(power_w[t_s >= t_s[-1] - EDGE_S]))
        self._t_s, self._power_w = t_s, power_w
        self._boxcar = BoxcarResponse(t_s, power_w)
        self._filtered: dict[float, FirstOrderResponse] = {}  # the last few: the search comes back to its centre
        self.at_s, self.readings_w = at_s, readings_w
        self._found: dict[bytes, IndexArray] = {}

    def thinned(self, count: int) -> FitProblem:
        """The same truth with about `count` of the readings, evenly chosen."""
        if len(self.at_s) <= count:
            return self
        chosen = np.unique(np.linspace(0, len(self.at_s) - 1, count).astype(np.int64))
        return self._with(self.at_s[chosen], self.readings_w[chosen])

    def stretched(self, rate: float) -> FitProblem:
        """The same readings with their times stretched about the middle one."""
        middle_s = float(self.at_s.mean())
        return self._with(middle_s + (self.at_s - middle_s) * rate, self.readings_w)

    def _with(self, at_s: FloatArray, readings_w: FloatArray) -> FitProblem:
        other = copy.copy(self)  # shares the truth and what was computed from it
        other.at_s, other.readings_w, other._found = at_s, readings_w, {}
        return other

    def response(self, kernel: Kernel, window_s: float) -> Response:
        """The kernel's output as a function of time."""
        if kernel == "boxcar":
            return lambda at_s, left: self._boxcar.at(at_s, window_s, left)
        if window_s not in self._filtered:
            if len(self._filtered) > 8:
                self._filtered.pop(next(iter(self._filtered)))
            self._filtered[window_s] = FirstOrderResponse(self._t_s, self._power_w, window_s / 2)
        return self._filtered[window_s].at

    def predictors(
        self, kernel: Kernel, window_s: float, delays_s: FloatArray, mean_of: int = 1, period_s: float = 0.0
    ) -> FloatArray:
        """Kernel output at every reading for every delay, shape (delays, readings)."""
        response = self.response(kernel, window_s)
        ends_s = self.at_s[None, :] - delays_s[:, None]
        seen_w = response(ends_s.ravel(), self._left(delays_s, ends_s))
        for back in range(1, mean_of):
            seen_w = seen_w + response(ends_s.ravel() - back * period_s, None)
        shaped: FloatArray = (seen_w / mean_of).reshape(ends_s.shape)
        return shaped

    def _left(self, delays_s: FloatArray, ends_s: FloatArray) -> IndexArray:
        """Where these times lie in the truth: the grid over delays is the same for most windows and both kernels."""
        key = delays_s.tobytes()
        if key not in self._found:
            self._found.clear()
            self._found[key] = samples_before(self._t_s, ends_s.ravel())
        return self._found[key]

    def misfit(self, predictors_w: FloatArray) -> FloatArray:
        """Mean squared residual after the best gain and offset, W², for every row."""
        x = predictors_w - predictors_w.mean(axis=1, keepdims=True)
        y = self.readings_w - self.readings_w.mean()
        variance = (x**2).mean(axis=1)
        shared = (x * y).mean(axis=1)
        explained = np.where(variance > 1e-12, shared**2 / np.maximum(variance, 1e-12), 0.0)
        # A sensor does not turn power upside down: a negative gain explains nothing.
        left: FloatArray = (y**2).mean() - np.where(shared > 0, explained, 0.0)
        return left

    def solved(self, fit: KernelFit, period_s: float) -> KernelFit:
        """Gain, offset and residuals for a kernel, window and delay."""
        x = self.predictors(fit.kernel, fit.window_s, np.array([fit.delay_s]), fit.mean_of, period_s)[0]
        centred = x - x.mean()
        variance = float((centred**2).sum())
        gain = float((centred * self.readings_w).sum() / variance) if variance > 1e-9 else 1.0
        offset_w = float(self.readings_w.mean() - gain * x.mean())
        residuals_w = self.readings_w - gain * x - offset_w
        rmse_w = float(np.sqrt(np.mean(residuals_w**2)))
        return replace(fit, gain=gain, offset_w=offset_w, rmse_w=rmse_w, residuals_w=residuals_w)


# --- the search -----------------------------------------------------------------------------------------


def best_fit(problem: FitProblem, kernel: Kernel, shortest_s: float, longest_s: float) -> KernelFit:
    """The window and delay with the least misfit, over all windows between two and all delays allowed."""
    count = max(2, math.ceil(WINDOWS_PER_DECADE * math.log10(longest_s / shortest_s)))
    windows_s = np.geomspace(shortest_s, longest_s, count)
    delays_s = (EARLIEST_DELAY_S, LATEST_DELAY_S)
    places = _places(problem.thinned(COARSE_READINGS), kernel, windows_s, 1, 0.0, delays_s)
    return _best_of(problem, places, 0.0)


@dataclass(frozen=True, order=True)
class _Place:
    """Where the search stands: ordered by misfit (W²)."""

    misfit: float
    window_s: float
    delay_s: float
    kernel: Kernel
    mean_of: int
    window_step: float
    delay_step_s: float


def _places(
    problem: FitProblem,
    kernel: Kernel,
    windows_s: FloatArray,
    mean_of: int,
    period_s: float,
    delays_s: tuple[float, float],
) -> list[_Place]:
    """Every dip of the misfit on a grid over windows and delays."""
    found = []
    ratio = math.log(windows_s[-1] / windows_s[0]) / (len(windows_s) - 1)
    for window_s in windows_s.tolist():
        step_s = float(np.clip(window_s / 4, DELAY_STEP_S, LONGEST_DELAY_STEP_S))
        tried_s = np.arange(*delays_s, step_s)
        misfit = problem.misfit(problem.predictors(kernel, window_s, tried_s, mean_of, period_s))
        for dip in np.flatnonzero((misfit <= np.roll(misfit, 1)) & (misfit <= np.roll(misfit, -1))):
            delay_s = float(tried_s[dip])
            found.append(_Place(float(misfit[dip]), window_s, delay_s, kernel, mean_of, ratio, step_s))
    return found


def _best_of(problem: FitProblem, places: list[_Place], period_s: float) -> KernelFit:
    """Follow the best places that are no neighbours of a better one, and polish the best of those."""
    started: list[_Place] = []
    for place in sorted(places):
        if all(_apart(place, other) for other in started):
            started.append(place)
        if len(started) == STARTS:
            break
    rough = problem.thinned(COARSE_READINGS)
    near = min(_refined(rough, place, period_s, 4e-3, 1e-4) for place in started)
    return polished(problem, _solved(rough, near, period_s), period_s)


def _solved(problem: FitProblem, place: _Place, period_s: float) -> KernelFit:
    blank = KernelFit(place.kernel, place.window_s, place.delay_s, place.mean_of, 1.0, 0.0, 0.0, problem.readings_w)
    return problem.solved(blank, period_s)


def _apart(one: _Place, two: _Place) -> bool:
    """Two places differ in kind, or in mean lag by more than neighbours on the grid would."""
    lag_s = abs(one.delay_s + one.window_s / 2 - two.delay_s - two.window_s / 2)
    alike = (one.kernel, one.mean_of) == (two.kernel, two.mean_of)
    return not alike or lag_s > 3 * one.delay_step_s or abs(math.log(one.window_s / two.window_s)) > 0.5


def _refined(problem: FitProblem, place: _Place, period_s: float, finest: float, finest_s: float) -> _Place:
    """Where a pattern of three windows by five delays, shrinking, comes to rest."""
    place = replace(place, misfit=math.inf)
    while place.window_step > finest or place.delay_step_s > finest_s:
        tried = [place]
        for shift in (-1, 0, 1):
            window_s = place.window_s * math.exp(shift * place.window_step)
            if not SHORTEST_WINDOW_S / 2 <= window_s <= 2 * LONGEST_WINDOW_S:
                continue
            # The kernel's mean lag, delay + window / 2, is what the data pin down: keep it while the window changes.
            delay_s = place.delay_s - (window_s - place.window_s) / 2
            delays_s: FloatArray = delay_s + place.delay_step_s * np.arange(-2.0, 3.0)
            values = problem.misfit(problem.predictors(place.kernel, window_s, delays_s, place.mean_of, period_s))
            at = int(np.argmin(values))
            tried.append(replace(place, misfit=float(values[at]), window_s=window_s, delay_s=float(delays_s[at])))
        best = min(tried)
        stays = best.window_s == place.window_s and abs(best.delay_s - place.delay_s) < place.delay_step_s / 2
        if stays or best.misfit >= place.misfit * (1 - 1e-6):
            best = replace(best, window_step=place.window_step / 2, delay_step_s=place.delay_step_s / 2)
        place = best
    return place


def polished(problem: FitProblem, fit: KernelFit, period_s: float) -> KernelFit:
    """The nearest resting place, from a fit made on slightly other times."""
    place = _Place(math.inf, fit.window_s, fit.delay_s, fit.kernel, fit.mean_of, 0.05, 1e-3)
    return _solved(problem, _refined(problem, place, period_s, 2e-4, 5e-6), period_s)


def best_mean(problem: FitProblem, about: float, delays_s: tuple[float, float], period_s: float) -> KernelFit:
    """The best mean of about so many readings of a kernel that sees no more than one and a half periods."""
    windows_s = np.geomspace(2 * SHORTEST_WINDOW_S, 1.5 * period_s, MEAN_WINDOWS)
    rough = problem.thinned(COARSE_READINGS)
    places: list[_Place] = []
    for mean_of in range(max(2, math.floor(about) - 1), math.ceil(about) + 2):
        for kernel in KERNELS:
            places += _places(rough, kernel, windows_s, mean_of, period_s, delays_s)
    return _best_of(problem, places, period_s)


def mended_rate(problem: FitProblem, fit: KernelFit, period_s: float, period_u_s: float) -> tuple[FitProblem, float]:
    """The same problem with the publications' clock rate where this kernel fits best, and that rate.

    The period comes from polls and is doubtful by `period_u_s`; the readings themselves know it better. The clocks of
    two files may also differ in rate.
    """
    response = problem.response(fit.kernel, fit.window_s)
    delays_s = fit.delay_s + np.arange(-MEND_S, MEND_S + MEND_STEP_S / 2, MEND_STEP_S)
    rates = (1 + period_u_s / period_s * np.linspace(-4, 4, 33)).tolist()
    misfits = []
    for rate in rates:
        ends_s = problem.stretched(rate).at_s[None, :] - delays_s[:, None]
        misfits.append(float(problem.misfit(response(ends_s.ravel(), None).reshape(ends_s.shape)).min()))
    rate = rates[int(np.argmin(misfits))]
    return problem.stretched(rate), rate
