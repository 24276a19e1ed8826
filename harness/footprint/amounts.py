"""An energy or a mass of CO2e as a person writes it: "11.49kWh", "42 kJ", "1,594 g CO2e". Pure."""

from __future__ import annotations

import math
import re
from typing import Literal

from pydantic import Field, model_validator

from harness import units
from harness.errors import UserInputError
from harness.frozen import Frozen

_PREFIXES = {"p": 1e-12, "n": 1e-9, "µ": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_KWH_PER_UNIT = {f"{prefix}J": scale / units.J_PER_KWH for prefix, scale in _PREFIXES.items()} | {
    f"{prefix}Wh": scale * units.J_PER_WH / units.J_PER_KWH for prefix, scale in _PREFIXES.items()
}
_G_PER_UNIT = (
    {f"{prefix}g": _PREFIXES[prefix] for prefix in ("n", "µ", "m", "", "k", "M")}
    | {f"{prefix}t": _PREFIXES[prefix] * _PREFIXES["M"] for prefix in ("", "k", "M", "G")}
    | {"lb": units.G_PER_LB, "lbs": units.G_PER_LB}
)
_POWER_UNITS = {f"{prefix}w" for prefix in ("", "m", "k", "g", "t")}
_KNOWN_UNITS = "Energy: J, kJ, MJ, GJ, Wh, kWh, MWh, GWh, TWh. Mass: mg, g, kg, t, lb, also with CO2 or CO2e."

# Groups of three digits may be parted by a comma, an underscore or one of the spaces, never by a mixture.
_NUMBER = re.compile(
    r"(?P<sign>[+\-−]?)\s*"
    r"(?P<digits>[1-9][0-9]{0,2}(?P<gap>[,_ \u00a0\u2009\u202f])[0-9]{3}(?:(?P=gap)[0-9]{3})*(?![0-9])"
    r"|[0-9]+|(?=\.[0-9]))"
    r"(?P<rest>(?:\.[0-9]*)?(?:[eE][+\-]?[0-9]+)?)"
)
_NOT_FINITE = re.compile(r"[+\-−]?(nan|inf(inity)?)\b", re.IGNORECASE)
_GAS = re.compile(r"\s*CO(?:2|₂)\s*-?\s*(?:e|eq)?$", re.IGNORECASE)
_WATT_HOURS = re.compile(r"W[\s·⋅-]+h$")


class Amount(Frozen):
    """What a user asked about: an energy or a mass of CO2e, never both."""

    energy_kwh: float | None = Field(None, ge=0)
    carbon_g_co2e: float | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _one_of_two(self) -> Amount:
        if (self.energy_kwh is None) == (self.carbon_g_co2e is None):
            raise ValueError("an amount is either an energy or a mass")
        return self


def parse_amount(text: str) -> Amount:
    """Read an energy ("11.49kWh", "42 kJ") or a mass of CO2e ("1,594 g", "0.5 t CO2e").

    The decimal mark is the point; commas, underscores and spaces may part groups of three digits. Capitals
    count where they tell milli from mega (mWh, MWh) and are forgiven where they cannot (kwh, KG).

    Raises:
        UserInputError: No number, no unit, a unit that is neither energy nor mass or could be two units,
            a negative number, or one that is not finite.
    """
    text = text.strip()
    shown = repr(text if len(text) <= 40 else text[:39] + "…")
    if _NOT_FINITE.match(text):
        raise UserInputError(f"The amount must be a finite number, not {shown}.")
    found = _NUMBER.match(text)
    if found is None:
        raise UserInputError(f"The amount {shown} does not start with a number.", "Write it as in: 11.49kWh")
    unit = text[found.end() :].strip()
    if unit[:1] in {",", ".", "_", "'", "’"} or unit[:1].isdigit():
        raise UserInputError(
            f"The number in {shown} cannot be read.",
            "The decimal mark is the point, and commas part groups of three digits: 1,594.25 g",
        )
    digits = found["digits"].replace(found["gap"] or ",", "")
    number = float((digits or "0") + found["rest"])
    if found["sign"] in {"-", "−"} and number != 0:
        raise UserInputError(f"The amount must not be negative, but {shown} is.")
    kind, scale = _read_unit(unit, shown)
    value = number * scale
    if not math.isfinite(value):
        raise UserInputError(f"The amount {shown} is too large to compute with.")
    return Amount(energy_kwh=value) if kind == "energy" else Amount(carbon_g_co2e=value)


def shared(amount: Amount, over: float | None, per: float) -> Amount:
    """What `per` of the `over` things have used that used the amount together; the amount itself without `over`.

    Raises:
        UserInputError: One of the two is not a finite number above 0.
    """
    for name, each in (("--over", over), ("--per", per)):
        if each is not None and not 0 < each < math.inf:
            raise UserInputError(f"{name} needs a finite number above 0, not {each:g}.")
    if over is None:
        return amount
    if amount.energy_kwh is not None:
        return Amount(energy_kwh=amount.energy_kwh / over * per)
    return Amount(carbon_g_co2e=(amount.carbon_g_co2e or 0.0) / over * per)


def _read_unit(unit: str, shown: str) -> tuple[Literal["energy", "mass"], float]:
    """Kind of the unit, and what one of it is in kWh or grams."""
    if not unit:
        raise UserInputError(f"The amount {shown} has no unit.", _KNOWN_UNITS)
    symbol = _WATT_HOURS.sub("Wh", _GAS.sub("", unit).replace("μ", "µ"))
    of_gas = _GAS.search(unit) is not None
    if symbol[:1] == "u":
        symbol = "µ" + symbol[1:]
    known = _G_PER_UNIT if of_gas else _KWH_PER_UNIT | _G_PER_UNIT
    if symbol not in known:
        symbol = _forgive_capitals(symbol, unit, known)
    if symbol in _KWH_PER_UNIT:
        return "energy", _KWH_PER_UNIT[symbol]
    return "mass", _G_PER_UNIT[symbol]


def _forgive_capitals(symbol: str, unit: str, known: dict[str, float]) -> str:
    """The one unit that `symbol` can mean if capitals are ignored.

    Raises:
        UserInputError: There is none, or capitals decide between two (milli and mega, g and G).
    """
    shown = repr(unit if len(unit) <= 20 else unit[:19] + "…")
    meant = [name for name in known if name.casefold() == symbol.casefold()]
    if len(meant) == 1 and len(symbol) > 1 and symbol[0] not in "mM":
        return meant[0]
    if meant:
        raise UserInputError(
            f"The unit {shown} is not clear: did you mean {' or '.join(meant)}?",
            "Capitals count here: m is milli, M is mega.",
        )
    if symbol.casefold() in _POWER_UNITS:
        raise UserInputError(
            f"The unit {shown} is a power, neither an energy nor a mass.",
            "Multiply it by the time: 300 W for 2 hours are 600 Wh.",
        )
    raise UserInputError(f"The unit {shown} is neither an energy nor a mass.", _KNOWN_UNITS)
