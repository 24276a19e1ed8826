from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserInputError
from harness.footprint.amounts import Amount, parse_amount


@pytest.mark.parametrize(
    ("text", "energy_kwh"),
    [
        ("11.49kWh", 11.49),
        ("11.49 kWh", 11.49),
        ("  .5 kWh ", 0.5),
        ("42 kJ", 42 / 3600),
        ("3.6MJ", 1.0),
        ("3600000 J", 1.0),
        ("2 GJ", 2000 / 3.6),
        ("250 Wh", 0.25),
        ("3 MWh", 3000.0),
        ("3 mWh", 3e-6),
        ("7.2 mJ", 2e-9),
        ("1 GWh", 1e6),
        ("1 TWh", 1e9),
        ("1,234.5 Wh", 1.2345),
        ("12 345 Wh", 12.345),
        ("12\u202f345 Wh", 12.345),
        ("1_000_000 J", 1 / 3.6),
        ("1e3 Wh", 1.0),
        ("1.5E-3 kWh", 0.0015),
        ("5 kwh", 5.0),
        ("5 KWH", 5.0),
        ("5 kW·h", 5.0),
        ("5 kW h", 5.0),
        ("5 uJ", 5e-6 / 3.6e6),
        ("5 μJ", 5e-6 / 3.6e6),
        ("0 J", 0.0),
        ("+2 kWh", 2.0),
    ],
)
def test_energies_are_read(text: str, energy_kwh: float) -> None:
    amount = parse_amount(text)
    assert amount.carbon_g_co2e is None
    assert amount.energy_kwh == pytest.approx(energy_kwh, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "carbon_g"),
    [
        ("1594 g", 1594.0),
        ("1,594 g", 1594.0),
        ("1,594 gCO2e", 1594.0),
        ("1594 g CO2", 1594.0),
        ("1594 g CO₂e", 1594.0),
        ("1594 g CO2-eq", 1594.0),
        ("1.594kg", 1594.0),
        ("1.594 KG co2", 1594.0),
        ("250 mg", 0.25),
        ("0.5 t CO2e", 500_000.0),
        ("2 tCO2", 2_000_000.0),
        ("2 Mg", 2_000_000.0),
        ("1 lb", 453.59237),
        ("2 lbs", 907.18474),
    ],
)
def test_masses_are_read(text: str, carbon_g: float) -> None:
    amount = parse_amount(text)
    assert amount.energy_kwh is None
    assert amount.carbon_g_co2e == pytest.approx(carbon_g, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "does not start with a number"),
        ("kWh", "does not start with a number"),
        ("42", "has no unit"),
        ("-5 kWh", "must not be negative"),
        ("−5 kWh", "must not be negative"),
        ("nan kWh", "must be a finite number"),
        ("-inf g", "must be a finite number"),
        ("Infinity kWh", "must be a finite number"),
        ("1e999 kWh", "too large"),
        ("1e308 TWh", "too large"),
        ("3 miles", "neither an energy nor a mass"),
        ("3 °C", "neither an energy nor a mass"),
        ("3 kWh CO2e", "neither an energy nor a mass"),
        ("3 CO2", "neither an energy nor a mass"),
        ("300 W", "is a power"),
        ("5 kW", "is a power"),
        ("5 mwh", "did you mean mWh or MWh"),
        ("5 MWH", "did you mean mWh or MWh"),
        ("5 mj", "did you mean mJ or MJ"),
        ("5 pj", "did you mean pJ or PJ"),
        ("5 MG", "did you mean mg or Mg"),
        ("5 mt", "did you mean Mt"),
        ("1594 G", "did you mean g"),
        ("5 T", "did you mean t"),
        ("11,49 kWh", "cannot be read"),
        ("0,594 kg", "cannot be read"),
        ("1.594.000 g", "cannot be read"),
        ("1,594,0 g", "cannot be read"),
        ("1'594 g", "cannot be read"),
    ],
)
def test_bad_amounts_are_refused_in_one_sentence(text: str, words: str) -> None:
    with pytest.raises(UserInputError) as caught:
        parse_amount(text)
    assert words in caught.value.message
    assert "\n" not in caught.value.message


def test_decimal_comma_gets_the_right_hint() -> None:
    with pytest.raises(UserInputError, match="decimal mark is the point"):
        parse_amount("11,49 kWh")


@given(
    st.floats(min_value=0, max_value=1e12, allow_subnormal=False),
    st.sampled_from([("kWh", 1.0), ("Wh", 1e-3), ("mWh", 1e-6), ("MWh", 1e3), ("J", 1 / 3.6e6), ("GJ", 1e9 / 3.6e6)]),
    st.sampled_from(["", " "]),
)
def test_an_energy_survives_the_round_trip(value: float, unit: tuple[str, float], gap: str) -> None:
    amount = parse_amount(f"{value!r}{gap}{unit[0]}")
    assert amount.energy_kwh == pytest.approx(value * unit[1], rel=1e-12)


@given(
    st.floats(min_value=0, max_value=1e9),
    st.sampled_from([("mg", 1e-3), ("g", 1.0), ("kg", 1e3), ("t", 1e6)]),
    st.sampled_from(["", "CO2", " CO2e"]),
)
def test_a_mass_with_grouped_digits_survives_the_round_trip(value: float, unit: tuple[str, float], gas: str) -> None:
    amount = parse_amount(f"{value:,.6f} {unit[0]}{gas}")
    assert amount.carbon_g_co2e == pytest.approx(float(f"{value:.6f}") * unit[1], rel=1e-12)


@given(st.text(max_size=60) | st.from_regex(r"[-+0-9., _eE']{0,12} ?[a-zA-Zµ0-9 ]{0,8}", fullmatch=True))
def test_garbage_raises_nothing_but_a_user_input_error(text: str) -> None:
    try:
        amount = parse_amount(text)
    except UserInputError as error:
        assert "\n" not in error.message  # noqa: PT017 - the error is one of two allowed outcomes
    else:
        assert isinstance(amount, Amount)
