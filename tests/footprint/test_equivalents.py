from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserInputError
from harness.footprint.defaults import DEFAULTS
from harness.footprint.equivalents import KINDS, QUANTITIES, Equivalents, equivalents
from harness.footprint.factors import editions, factor

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
    assert {used.kind: used.edition for used in result.factors} == {kind: DEFAULTS[kind] for kind in KINDS}
    assert (result.factor("grid").edition, result.factor("phone").edition) == ("world-2024", "epa-current")
    assert result.carbon_g_co2e == 473.0
    assert all(used.source for used in result.factors)


def test_ranges_come_from_the_factors_and_combine_grid_and_car() -> None:
    result = equivalents(11.49, grid="world-2024")
    assert "energy_kwh" not in result.ranges  # given, so exact here
    charges = result.ranges["phone_charges"]
    assert charges.low == pytest.approx(522.27, abs=0.005)
    assert charges.high == pytest.approx(957.5)
    miles = result.ranges["car_miles"]  # grid 471 to 473 g/kWh, car 390 to 409 g/mile
    assert miles.low == pytest.approx(11.49 * 471 / 409)
    assert miles.high == pytest.approx(11.49 * 473 / 390)


def test_ranges_of_a_mass_pass_the_grid_backwards() -> None:
    result = equivalents(carbon_g_co2e=473.0, grid="world-2024")
    assert result.ranges["energy_kwh"].low == pytest.approx(1.0)
    assert result.ranges["energy_kwh"].high == pytest.approx(473 / 471)
    assert result.ranges["phone_charges"].high == pytest.approx(473 / 471 / 0.012)
    assert "carbon_g_co2e" not in result.ranges


def test_a_factor_without_a_range_gives_none() -> None:
    result = equivalents(1.0, grid="study-recorded", phone="epa-2024", car="epa-2023")
    by_grid_or_own = {"phone_charges", "car_miles", "car_km", "carbon_g_co2e"}
    assert not by_grid_or_own & set(result.ranges)
    assert "web_searches" in result.ranges
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
    messages = [caveat.message for caveat in equivalents(1.0, car="epa-2023", grid="usa-epa-2023").caveats]
    assert any("car epa-2023" in message and "not checked" in message for message in messages)
    assert any("grid usa-epa-2023" in message and "no other greenhouse gas" in message for message in messages)
    found = equivalents(1.0, grid="473")
    of_default = {each.message.split(" (")[0] for each in found.caveats if each.code == "factor-unverified"}
    assert of_default == {"flight short-economy-2024", "per-capita usa-2023"}
    # Read in a source, but for one end of the range: the two are told apart.
    assert [each.message for each in found.caveats if "web-search" in each.message] == [
        "The range of web-search google-2009, 0.04 unverified to 0.3 Wh/search, is in part from memory."
    ]
    assert found.unverified["web_searches"] == ("web-search google-2009 low end unverified",)
    assert "phone_charges" not in found.unverified
    assert equivalents(1.0, grid="world-2023").unverified["tree_years"] == ("grid world-2023 unverified",)


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
    with pytest.raises(UserInputError, match=offered):
        equivalents(1.0, **{kind: wrong})


@pytest.mark.parametrize("kind", KINDS)
def test_every_listed_edition_can_be_used(kind: str) -> None:
    for each in editions(kind):
        assert equivalents(2.0, **{kind.replace("-", "_"): each.edition}).factor(kind) == each


def test_everyday_quantities_of_ten_kilowatt_hours() -> None:
    result = equivalents(10.0, grid="473")  # 4,730 g
    assert result.led_bulb_hours == pytest.approx(1000)  # 10 W
    assert result.kettle_litres == pytest.approx(90.909, abs=1e-3)  # 10 / 0.11
    assert result.household_days == pytest.approx(0.33784, abs=1e-5)  # 10 / 29.6
    assert result.streaming_hours == pytest.approx(129.87, abs=5e-3)  # 10 / 0.077
    assert result.flight_passenger_km == pytest.approx(25.847, abs=1e-3)  # 4,730 / 183
    assert result.tree_years == pytest.approx(0.78833, abs=1e-5)  # 4,730 / 6,000: 60 kg in ten years
    assert result.per_capita_days == pytest.approx(0.120813, abs=1e-6)  # 4,730 / (14.3e6 / 365.25)
    assert result.ranges["tree_years"].high == pytest.approx(4730 / 3900)  # the older edition's 39 kg
    assert equivalents(10.0, household="eu-2022").household_days == pytest.approx(10 / 9.6)


def test_a_grid_that_nobody_named_is_a_caveat() -> None:
    first = equivalents(1.0).caveats[0]
    assert first.code == "grid-not-named"
    assert "world-2024 stands in" in first.message
    assert "30.08 to 713.4 g CO2e/kWh" in first.message
    for grid in ("world-2024", "france-2023", "473"):
        assert "grid-not-named" not in [caveat.code for caveat in equivalents(1.0, grid=grid).caveats]
    assert equivalents(carbon_g_co2e=1.0).caveats[0].code == "grid-not-named"


def test_llama_is_almost_five_hundred_americans_only_by_one_edition() -> None:
    tonnes = factor("training-carbon", "llama31-405b").value * 1e6
    people = equivalents(carbon_g_co2e=tonnes, per_capita="usa-ai-index-2025").per_capita_days / 365.25
    assert people == pytest.approx(493.9, abs=0.05)  # 8,930 / 18.08
    assert equivalents(carbon_g_co2e=tonnes).per_capita_days / 365.25 == pytest.approx(624.5, abs=0.05)  # 14.3 t


def test_measurement_and_factors_make_one_range_together() -> None:
    result = equivalents(10.0, interval=(9.0, 12.0), phone="epa-2023")
    span = result.whole_span("phone_charges")
    assert span is not None
    assert (span.low, span.high) == pytest.approx((9 / 0.012, 12 / 0.0116))
    alone = equivalents(10.0, phone="epa-2024").whole_span("phone_charges")
    assert alone is None


def test_a_grid_of_zero_has_no_mass_to_divide_by() -> None:
    assert equivalents(1.0, grid="0").carbon_g_co2e == 0
    with pytest.raises(UserInputError, match="by which nothing can be divided"):
        equivalents(carbon_g_co2e=1.0, grid="0")


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
