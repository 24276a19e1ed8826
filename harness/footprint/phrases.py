"""Equivalents in words: numbers with units that fit their size, and the sentence a person would say. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable

from harness import units
from harness.footprint.equivalents import KIND_OF, Equivalents, Span

_LEAST = 1e-300  # below it a number has no last digit to round to

# What is said after the number; {edition} is that of the factor.
_WORDS = {
    "energy_kwh": "on the grid {edition}",
    "carbon_g_co2e": "on the grid {edition}",
    "phone_charges": "phone charges",
    "car_km": "by car ({edition})",
    "car_miles": "by car ({edition})",
    "web_searches": "web searches",
    "led_bulb_hours": "of an LED bulb ({edition})",
    "kettle_litres": "of water brought to the boil",
    "household_days": "of a household's electricity ({edition})",
    "streaming_hours": "of video streaming",
    "flight_passenger_km": "passenger-km by plane ({edition})",
    "tree_years": "of a tree's growth",
    "per_capita_days": "of a person's emissions ({edition})",
}
_UNITS = {
    "led_bulb_hours": "h",
    "kettle_litres": "l",
    "household_days": "days",
    "streaming_hours": "h",
    "tree_years": "years",
    "per_capita_days": "days",
}


def quantity_text(name: str, value: float, digits: int | None = None) -> str:
    """A quantity as people read it, with a unit that fits its size: 0.000966 km of `car_km` is "0.966 m"."""
    if name == "energy_kwh":
        return units.format_si(value * units.J_PER_KWH / units.J_PER_WH, "Wh", digits or 4)
    if name == "carbon_g_co2e":
        return units.format_mass(value, digits or 4) + " CO2e"
    if name == "car_km":
        short = value < 1
        return f"{units.format_significant(value * 1000 if short else value, digits or 3)} {'m' if short else 'km'}"
    if name == "car_miles":
        return f"{units.format_significant(value, digits or 3)} miles"
    number = units.format_significant(value, digits or (4 if name == "phone_charges" else 3))
    return f"{number} {_UNITS[name]}" if name in _UNITS else number


def span_text(name: str, span: Span) -> str:
    """A range as people read it, its unit said once where both ends share it: "21.3 to 22.4 km"."""
    low, high = (quantity_text(name, end).removesuffix(" CO2e") for end in (span.low, span.high))
    low_number, _, low_unit = low.partition(" ")
    return f"{low_number if low_unit == high.partition(' ')[2] else low} to {high}"


def sentence(result: Equivalents, name: str, subject: str) -> str:
    """What a person would say of one quantity: "1,000 images = 35 phone charges (32-37)".

    The range is that of factors and measurement together, its ends rounded outward; what of it is from memory is said
    to be unverified.
    """
    used = result.factor(KIND_OF[name])
    span = result.whole_span(name)
    value = getattr(result, name)
    step = _last_digit(value, span)
    number, _, unit = _rounded_text(name, value, step, round).partition(" ")
    told = ""
    if span is not None:
        low, high = (_rounded_text(name, span.low, step, math.floor), _rounded_text(name, span.high, step, math.ceil))
        alike = low.partition(" ")[2] == unit == high.partition(" ")[2]
        ends = [end.partition(" ")[0] if alike else end.removesuffix(" CO2e") for end in (low, high)]
        told = f" ({ends[0]}-{ends[1]})" if low != high else ""
    words = _WORDS[name].format(edition=used.edition)
    doubt = "".join(f", {each}" for each in result.unverified.get(name, ()))
    return f"{subject} = {number}{f' {unit}' if unit else ''} {words}{told}{doubt}"


def _place(value: float, digits: int) -> float:
    """What the last of so many significant digits of a number is worth."""
    return float(f"1e{math.floor(math.log10(abs(value))) - digits + 1}")


def _last_digit(value: float, span: Span | None) -> float | None:
    """To what a number and its range are rounded: two digits of the width, two of the low end, three of the number.

    None: the number is 0, and so is all of it.
    """
    if abs(value) < _LEAST:
        return None
    if span is None or span.high == span.low:
        return _place(value, 3)
    two = [_place(each, 2) for each in (span.high - span.low, span.low) if each >= _LEAST]
    return max(_place(value, 3), min(two, default=0.0))


def _rounded_text(name: str, value: float, step: float | None, rounding: Callable[[float], float]) -> str:
    """A number rounded to a step, which leaves it two or three digits of its own."""
    if abs(value) < _LEAST or step is None:
        return quantity_text(name, value)
    step = min(max(step, _place(value, 3)), _place(value, 2))
    count = rounding(round(value / step, 6))  # what is off by the last bit is not rounded away
    return quantity_text(name, count * step, max(1, len(str(abs(int(count))))))
