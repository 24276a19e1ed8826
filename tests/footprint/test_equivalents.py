from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserInputError
from harness.footprint.equivalents import (
    QUANTITIES,
    Equivalents,
    equivalents,
    quantity_text,
    sentence,
)
from harness.footprint.factors import editions

DEFAULTS = {"phone": "epa-current", "car": "epa-current", "grid": "world-2024"}

# --- converting it ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("phone", "charges"), [("epa-2023", 957.5), ("epa-2024", 522.3), ("epa-current", 604.7)])
def test_phone_charges_of_one_energy_differ_by_edition(phone: str, charges: float) -> None:
    assert equivalents(11.49, phone=phone).phone_charges == pytest.approx(charges, abs=0.05)


def test_study_recorded_grid_gives_the_printed_mass_and_miles() -> None:
    result = equivalents(11.49, grid="study-recorded", car="epa-2023")
    assert result.derived_from == "energy"
    assert result.carbon_g_co2e == pytest.approx(1594.2375, rel=1e-9)  # 11.49 x 138.75
    assert result.car_miles == pytest.approx(4.0878, abs=5e-5)  # 1594.2375 / 390
    assert equivalents(11.49, grid="study-stated").carbon_g_co2e == pytest.approx(3419.424, rel=1e-9)


def test_mass_goes_to_miles_without_the_grid_and_to_energy_through_it() -> None:
    result = equivalents(carbon_g_co2e=1594.0, grid="study-recorded", car="epa-2023", phone="epa-2023")
    assert result.derived_from == "mass"
    assert result.carbon_g_co2e == 1594.0
    assert result.car_miles == pytest.approx(4.08718, abs=5e-6)
    assert result.car_km == pytest.approx(6.57768, abs=5e-5)  # 4.08718 x 1.609344
    assert result.energy_kwh == pytest.approx(11.48829, abs=5e-6)  # 1594 / 138.75
    assert result.phone_charges == pytest.approx(957.357, abs=5e-4)
    assert equivalents(carbon_g_co2e=1594.0, car="epa-2023").car_miles == result.car_miles


def test_six_ten_thousandths_of_a_mile_are_under_a_metre() -> None:
    result = equivalents(carbon_g_co2e=0.0006 * 390, car="epa-2023")
    assert result.car_miles == pytest.approx(0.0006)
    assert result.car_km * 1000 == pytest.approx(0.9656064)
    assert quantity_text("car_km", result.car_km) == "0.966 m"


def test_web_searches_of_a_kilowatt_hour() -> None:
    result = equivalents(1.0)
    assert result.web_searches == pytest.approx(1000 / 0.3)
    assert result.ranges["web_searches"].high == pytest.approx(25_000)  # 1000 / 0.04
    assert result.ranges["web_searches"].low == pytest.approx(1000 / 0.3)


def test_a_car_factor_per_km_is_turned_into_miles() -> None:
    result = equivalents(carbon_g_co2e=1081.0, car="eu-new-2022")  # 108.1 g/km
    assert result.car_km == pytest.approx(10.0)
    assert result.car_miles == pytest.approx(10 / 1.609344)


def test_defaults_are_the_current_editions_and_the_world_grid() -> None:
    result = equivalents(1.0)
    named = [(used.kind, used.edition) for used in result.factors]
    assert named == [
        ("grid", "world-2024"),
        ("phone", "epa-current"),
        ("car", "epa-current"),
        ("web-search", "google-2009"),
    ]
    assert result.carbon_g_co2e == 473.0
    assert all(used.source for used in result.factors)


def test_ranges_come_from_the_factors_and_combine_grid_and_car() -> None:
    result = equivalents(11.49)
    assert "energy_kwh" not in result.ranges  # given, so exact here
    charges = result.ranges["phone_charges"]
    assert charges.low == pytest.approx(522.27, abs=0.005)
    assert charges.high == pytest.approx(957.5)
    miles = result.ranges["car_miles"]  # grid 471 to 473 g/kWh, car 390 to 409 g/mile
    assert miles.low == pytest.approx(11.49 * 471 / 409)
    assert miles.high == pytest.approx(11.49 * 473 / 390)


def test_ranges_of_a_mass_pass_the_grid_backwards() -> None:
    result = equivalents(carbon_g_co2e=473.0)
    assert result.ranges["energy_kwh"].low == pytest.approx(1.0)
    assert result.ranges["energy_kwh"].high == pytest.approx(473 / 471)
    assert result.ranges["phone_charges"].high == pytest.approx(473 / 471 / 0.012)
    assert "carbon_g_co2e" not in result.ranges


def test_a_factor_without_a_range_gives_none() -> None:
    result = equivalents(1.0, grid="study-recorded", phone="epa-2024", car="epa-2023")
    assert set(result.ranges) == {"web_searches"}
    assert result.intervals == {}


def test_measured_interval_scales_by_the_central_factors() -> None:
    result = equivalents(10.0, interval=(9.0, 12.0), phone="epa-2023", grid="study-recorded", car="epa-2023")
    assert set(result.intervals) == set(QUANTITIES)
    assert result.intervals["phone_charges"].low == pytest.approx(750.0)
    assert result.intervals["phone_charges"].high == pytest.approx(1000.0)
    assert result.intervals["carbon_g_co2e"].high == pytest.approx(1665.0)
    assert result.intervals["energy_kwh"].low == 9.0
    # The factor's own range (0.0116 to 0.012) stays apart, around the central amount.
    assert result.ranges["phone_charges"].high == pytest.approx(10 / 0.0116)


def test_measured_interval_of_a_mass_reaches_the_energy() -> None:
    result = equivalents(carbon_g_co2e=138.75, interval=(69.375, 277.5), grid="study-recorded")
    assert result.intervals["energy_kwh"].low == pytest.approx(0.5)
    assert result.intervals["energy_kwh"].high == pytest.approx(2.0)


def test_factor_from_memory_and_co2_only_grid_leave_caveats() -> None:
    assert equivalents(1.0).caveats == ()
    codes = [caveat.code for caveat in equivalents(1.0, car="epa-2023", grid="usa-epa-2023").caveats]
    assert codes == ["co2-only", "factor-unverified"]


@pytest.mark.parametrize(
    ("energy_kwh", "carbon_g"),
    [(None, None), (1.0, 1.0), (-1.0, None), (None, -1.0), (math.nan, None), (None, math.inf), (1e308, None)],
)
def test_amounts_that_cannot_be_are_refused(energy_kwh: float | None, carbon_g: float | None) -> None:
    with pytest.raises(UserInputError):
        equivalents(energy_kwh, carbon_g)


@pytest.mark.parametrize("interval", [(2.0, 3.0), (0.0, 0.5), (math.nan, 2.0), (0.5, math.inf)])
def test_interval_that_does_not_hold_the_amount_is_refused(interval: tuple[float, float]) -> None:
    with pytest.raises(UserInputError, match="does not hold"):
        equivalents(1.0, interval=interval)


@pytest.mark.parametrize(
    ("kind", "wrong", "offered"),
    [("phone", "epa-2022", "epa-2023"), ("car", "epa2023", "epa-2023"), ("grid", "Wurld-2024", "world-2024")],
)
def test_unknown_edition_offers_the_nearest(kind: str, wrong: str, offered: str) -> None:
    chosen = DEFAULTS | {kind: wrong}
    with pytest.raises(UserInputError, match=offered):
        equivalents(1.0, phone=chosen["phone"], car=chosen["car"], grid=chosen["grid"])


@pytest.mark.parametrize("kind", ["phone", "car", "grid"])
def test_every_listed_edition_can_be_used(kind: str) -> None:
    for each in editions(kind):
        chosen = DEFAULTS | {kind: each.edition}
        result = equivalents(2.0, phone=chosen["phone"], car=chosen["car"], grid=chosen["grid"])
        assert result.factor(kind) == each


@given(st.floats(min_value=1e-9, max_value=1e12), st.sampled_from([each.edition for each in editions("grid")]))
def test_energy_to_mass_and_back_is_the_same_energy(energy_kwh: float, grid: str) -> None:
    forth = equivalents(energy_kwh, grid=grid)
    back = equivalents(carbon_g_co2e=forth.carbon_g_co2e, grid=grid)
    assert back.energy_kwh == pytest.approx(energy_kwh, rel=1e-12)
    assert back.car_km == pytest.approx(forth.car_km, rel=1e-12)


@given(st.floats(min_value=0, max_value=1e12))
def test_every_quantity_lies_in_its_range(energy_kwh: float) -> None:
    result = equivalents(energy_kwh)
    for name, span in result.ranges.items():
        assert span.low <= getattr(result, name) <= span.high


def test_result_survives_json() -> None:
    result = equivalents(11.49, interval=(11.0, 12.0))
    assert Equivalents.model_validate_json(result.model_dump_json()) == result


# --- saying it -------------------------------------------------------------------------------------


def test_sentence_says_each_quantity_with_its_range() -> None:
    assert sentence(equivalents(11.49)) == (
        "11.49 kWh = 5.435 kg CO2e on the grid world-2024 (5.412 to 5.435 kg CO2e), "
        "604.7 smartphone charges (522.3 to 957.5), 22.3 km by car (21.3 to 22.4 km), "
        "38,300 web searches (38,300 to 287,000)."
    )


def test_sentence_of_a_mass_starts_with_the_mass() -> None:
    said = sentence(equivalents(carbon_g_co2e=1594.0, grid="study-recorded", phone="epa-2024", car="epa-2023"))
    assert said.startswith("1.594 kg CO2e = 11.49 kWh on the grid study-recorded, 522.2 smartphone charges, 6.58 km")


def test_range_across_a_unit_names_both_units() -> None:
    assert "(990 m to 1.04 km)" in sentence(equivalents(carbon_g_co2e=251.5))
