"""Published trends carried forward, and forecasts recomputed: always as ranges, always marked as projections. Pure.

Where a source gives no range of its own, the range is from the trend stopping where it was last seen to going on as
claimed: that a trend went on once is no evidence that it will.
"""

from __future__ import annotations

import math
import re

from pydantic import Field

from harness.footprint.factors import Factor, factor
from harness.frozen import Frozen

ARK_FORECAST_YEAR = 2030


class Range(Frozen):
    """Two ends in a unit. Of a projection there is no middle."""

    low: float
    high: float
    unit: str


class Trend(Frozen):
    """One trend and where it leads."""

    name: str
    says: str
    from_value: float
    from_year: str
    unit: str
    years: int
    if_it_goes_on: Range = Field(description="after that many years, by the ends of the trend's own range")
    projection: Range = Field(description="from the trend stopping where it was last seen to going on at its far end")
    factors: tuple[Factor, ...]


class Forecast(Frozen):
    """What somebody foretold, and what their own yearly fall of the cost of training gives."""

    name: str
    says: str
    stated: float
    recomputed: Range = Field(description="by the two ends of that fall")
    unit: str
    arithmetic: str
    factors: tuple[Factor, ...]


def months_between(earlier: str, later: str) -> int:
    """Months from one "YYYY-MM" to another.

    >>> months_between("2022-11", "2024-10")
    23
    """
    (year, month), (until_year, until_month) = (map(int, text.split("-")) for text in (earlier, later))
    return (until_year - year) * 12 + until_month - month


def yearly_fold(fold: float, months: float) -> float:
    """What a change by a factor over some months is in a year.

    >>> round(yearly_fold(20 / 0.07, 23), 1), round(yearly_fold(20 / 0.07, 18), 1)
    (19.1, 43.4)
    """
    return float(fold ** (12 / months))


def inference_price_fold() -> tuple[float, int]:
    """How many times less a million tokens of one quality cost, and over how many months."""
    then, now = factor("inference-price", "gpt35-level-2022-11"), factor("inference-price", "gpt35-level-2024-10")
    return then.value / now.value, months_between(str(then.year), str(now.year))


def yearly_change(edition: str) -> tuple[float, float, float]:
    """A trend's multiplier per year: central, low and high: -0.3 per year is 0.7, 2.4 x per year is 2.4."""
    used = factor("trend", edition)
    ends = [used.value, *(end for end in (used.low, used.high) if end is not None)]
    folds = [end if used.unit == "x/yr" else 1 + end for end in ends]
    return folds[0], min(folds), max(folds)


def trends(years: int) -> tuple[Trend, ...]:
    """Every trend on record, that many years on from where it was last seen."""
    price_then = factor("inference-price", "gpt35-level-2022-11")
    price_now = factor("inference-price", "gpt35-level-2024-10")
    fold, months = inference_price_fold()
    per_year = yearly_fold(fold, months)
    gpt3_2020, gpt3_2022 = factor("training-cost", "gpt3-level-2020"), factor("training-cost", "gpt3-level-2022")
    efficiency, hardware = factor("trend", "hardware-efficiency"), factor("trend", "hardware-cost")
    epoch, frontier = factor("trend", "training-cost-epoch"), factor("training-cost", "gemini-ultra-2023")
    ark = factor("trend", "training-cost-ark")
    gain = yearly_change("hardware-efficiency")
    return (
        _trend(
            "energy of the same computation",
            f"hardware energy efficiency {efficiency.value:+.0%} a year",
            1.0,
            efficiency.year,
            "of today's",
            years,
            (1 / gain[2], 1 / gain[1]),
            (efficiency,),
        ),
        _trend(
            "cost of the same hardware",
            f"hardware cost {hardware.value:+.0%} a year",
            1.0,
            hardware.year,
            "of today's",
            years,
            yearly_change("hardware-cost")[1:],
            (hardware,),
        ),
        _trend(
            "price of inference at the level of GPT-3.5",
            f"{price_then.value:g} to {price_now.value:g} USD per million tokens over {months} months: "
            f"{per_year:.1f} times less a year",
            price_now.value,
            price_now.year,
            price_now.unit,
            years,
            (1 / per_year, 1 / per_year),
            (price_then, price_now),
        ),
        _trend(
            "training to the level of GPT-3",
            f"{gpt3_2020.value:,.0f} to {gpt3_2022.value:,.0f} USD in two years: "
            f"{_per_year(gpt3_2020, gpt3_2022) - 1:+.1%} a year, told as {ark.value:+.0%}",
            gpt3_2022.value,
            gpt3_2022.year,
            "USD",
            years,
            yearly_change("training-cost-ark")[1:],
            (gpt3_2020, gpt3_2022, ark),
        ),
        _trend(
            "training of the dearest model",
            f"x {epoch.value:g} a year ({epoch.low:g} to {epoch.high:g}), here from Gemini Ultra",
            frontier.value,
            frontier.year,
            "USD",
            years,
            yearly_change("training-cost-epoch")[1:],
            (epoch, frontier),
        ),
    )


def forecasts() -> tuple[Forecast, ...]:
    """ARK's two forecasts for 2030, with what their own trend gives."""
    cheap, dear = factor("forecast", "gpt3-training-2030"), factor("training-cost", "gpt3-level-2022")
    _, fast, slow = yearly_change("training-cost-ark")
    n = ARK_FORECAST_YEAR - int(dear.year or 0)
    yearly = f"({fast:.3g} to {slow:.3g})"
    billion, query = factor("forecast", "billion-queries-2030"), factor("query-cost", "chatgpt-2022")
    searches = factor("searches-per-day", "google-2022")
    return (
        Forecast(
            name="training to the level of GPT-3 in 2030",
            says=f"{cheap.value:g} USD",
            stated=cheap.value,
            recomputed=Range(low=dear.value * fast**n, high=dear.value * slow**n, unit="USD"),
            unit="USD",
            arithmetic=f"{dear.value:,.0f} x {yearly}^{n}",
            factors=(cheap, dear, factor("trend", "training-cost-ark")),
        ),
        Forecast(
            name="a billion queries in 2030",
            says=f"{billion.value:g} USD",
            stated=billion.value,
            recomputed=Range(low=query.value * 1e9 * fast**n, high=query.value * 1e9 * slow**n, unit="USD/1e9 queries"),
            unit="USD/1e9 queries",
            arithmetic=f"{query.value:g} USD x 1e9 x {yearly}^{n}",
            factors=(billion, query, factor("trend", "training-cost-ark")),
        ),
        Forecast(
            name="a day of web searches answered so, in 2030",
            says=f"{billion.value:g} USD per billion, {searches.value / 1e9:g} billion a day",
            stated=billion.value * searches.value / 1e9,
            recomputed=Range(
                low=query.value * searches.value * fast**n, high=query.value * searches.value * slow**n, unit="USD/day"
            ),
            unit="USD/day",
            arithmetic=f"{searches.value / 1e9:g} x {billion.value:g}, and {query.value:g} x {searches.value:g} x "
            f"{yearly}^{n}; at {query.value:g} USD a query it is {query.value * searches.value:,.0f} USD",
            factors=(billion, query, searches),
        ),
    )


def _trend(
    name: str,
    says: str,
    value: float,
    year: str | None,
    unit: str,
    years: int,
    yearly: tuple[float, ...],
    factors: tuple[Factor, ...],
) -> Trend:
    ends = [value * fold**years for fold in yearly]
    goes_on = Range(low=min(ends), high=max(ends), unit=unit)
    whole = Range(low=min(value, *ends), high=max(value, *ends), unit=unit)
    return Trend(
        name=name,
        says=says,
        from_value=value,
        from_year=year or "",
        unit=unit,
        years=years,
        if_it_goes_on=goes_on,
        projection=whole,
        factors=factors,
    )


def _per_year(earlier: Factor, later: Factor) -> float:
    """The multiplier per year between two factors that each tell their year."""
    years = [int(found[0]) for each in (earlier, later) if (found := re.search(r"\d{4}", each.year or ""))]
    return math.exp(math.log(later.value / earlier.value) / (years[1] - years[0]))
