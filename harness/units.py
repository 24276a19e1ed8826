"""Exact unit factors and how quantities are written for people.

Everything inside the harness is SI (J, W, s, K differences in °C); kWh and miles appear only where
results meet people. Factors here are exact by definition; anything with a source lives in harness/data.
"""

from __future__ import annotations

import math

J_PER_KWH = 3_600_000.0
J_PER_WH = 3_600.0
M_PER_MILE = 1_609.344
KM_PER_MILE = M_PER_MILE / 1_000.0
G_PER_LB = 453.59237
G_PER_KG = 1_000.0
G_PER_T = 1_000_000.0
DAYS_PER_YEAR = 365.25  # the Julian year
S_PER_YEAR = DAYS_PER_YEAR * 86_400.0

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


def kwh_from_j(energy_j: float) -> float:
    """Kilowatt-hours from joules (exact)."""
    return energy_j / J_PER_KWH


def j_from_kwh(energy_kwh: float) -> float:
    """Joules from kilowatt-hours (exact)."""
    return energy_kwh * J_PER_KWH


def format_significant(value: float, digits: int = 3) -> str:
    """Write a number with `digits` significant digits, without exponent between 1e-4 and 1e6.

    >>> format_significant(0.0123456), format_significant(1234.5), format_significant(12345678.0)
    ('0.0123', '1,230', '1.23e+07')
    """
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    rounded = round(value, digits - 1 - magnitude)
    magnitude = math.floor(math.log10(abs(rounded)))
    if not -5 < magnitude < 6:
        return f"{rounded:.{digits - 1}e}"
    return f"{rounded:,.{max(0, digits - 1 - magnitude)}f}"


def format_si(value: float, unit: str, digits: int = 3) -> str:
    """Write a quantity with an SI prefix.

    >>> format_si(0.00125, "J"), format_si(12_500.0, "J")
    ('1.25 mJ', '12.5 kJ')
    """
    if value == 0 or not math.isfinite(value):
        return f"{format_significant(value)} {unit}"
    for factor, prefix in _PREFIXES:
        if abs(value) >= factor * 0.9995:
            return f"{format_significant(value / factor, digits)} {prefix}{unit}"
    return f"{value:.{digits - 1}e} {unit}"


def format_energy(energy_j: float) -> str:
    """Write an energy in the largest of J, Wh and kWh of which there is at least one.

    >>> format_energy(230.0), format_energy(7_200.0), format_energy(9e6)
    ('230 J', '2.00 Wh', '2.50 kWh')
    """
    for size_j, unit in ((J_PER_KWH, "kWh"), (J_PER_WH, "Wh")):
        if energy_j >= size_j:
            return f"{format_significant(energy_j / size_j)} {unit}"
    return f"{format_significant(energy_j)} J"


def format_mass(value_g: float, digits: int = 3) -> str:
    """Write a mass given in grams: grams and kilograms, from a tonne on tonnes.

    >>> format_mass(6_557.0), format_mass(8.93e9)
    ('6.56 kg', '8.93 kt')
    """
    if abs(value_g) >= 0.9995 * G_PER_T:
        return format_si(value_g / G_PER_T, "t", digits)
    return format_si(value_g, "g", digits)


def format_plus_minus(value: float, half_width: float) -> str:
    """Write value ± half-width, both rounded to the half-width's second significant digit.

    >>> format_plus_minus(1.23456, 0.0345), format_plus_minus(1234.5, 120.0)
    ('1.235 ± 0.035', '1,230 ± 120')
    """
    if not (math.isfinite(value) and math.isfinite(half_width)) or half_width <= 0:
        return f"{format_significant(value)} ± {format_significant(half_width)}"
    magnitude = math.floor(math.log10(float(f"{half_width:.1e}")))
    decimals = 1 - magnitude
    if magnitude < -5 or abs(value) >= 1e6:
        largest = max(abs(value), half_width)
        digits = max(1, math.floor(math.log10(largest)) - magnitude + 1)
        return f"{value:.{digits}e} ± {half_width:.1e}"
    places = max(0, decimals)
    return f"{round(value, decimals):,.{places}f} ± {round(half_width, decimals):,.{places}f}"


def format_duration(duration_s: float) -> str:
    """Write a duration the way people say it.

    >>> format_duration(0.25), format_duration(75.0), format_duration(7_260.0)
    ('0.250 s', '1 min 15 s', '2 h 1 min')
    """
    if duration_s < 59.5:
        return f"{format_significant(duration_s)} s"
    seconds = round(duration_s)
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
