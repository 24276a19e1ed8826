from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.footprint.equivalents import QUANTITIES, equivalents
from harness.footprint.phrases import quantity_text, sentence, span_text


def test_a_thousand_images_in_phone_charges() -> None:
    # 0.66 kWh measured as 0.64 to 0.67: 0.66 / 0.019 = 34.7 charges, and 33.7 to 35.3 by the measurement alone.
    result = equivalents(0.66, interval=(0.64, 0.67), phone="0.019")
    assert sentence(result, "phone_charges", "1,000 images") == "1,000 images = 34.7 phone charges (33.6-35.3)"


def test_a_wide_range_takes_the_digits_off_its_number() -> None:
    said = sentence(equivalents(11.49), "phone_charges", "1,000 images")
    assert said == "1,000 images = 600 phone charges (520-960)"


def test_ranges_are_rounded_outward_to_the_same_digit() -> None:
    result = equivalents(11.49)
    assert sentence(result, "kettle_litres", "it") == "it = 104 l of water brought to the boil (95-124)"  # 95.75-123.5
    assert sentence(result, "led_bulb_hours", "it") == "it = 1,150 h of an LED bulb (10w) (1,140-1,440)"  # 1,149-1,436
    assert "(95-150)" in sentence(result, "streaming_hours", "it")  # 95.75 to 149.2
    assert "(38,000-288,000)" in sentence(result, "web_searches", "it")  # 38,300 to 287,250
    assert "(340 g-8.20 kg)" in sentence(result, "carbon_g_co2e", "it")  # 345.6 g to 8.197 kg


@given(st.floats(1e-9, 1e12), st.just(0.0) | st.floats(1e-12, 1), st.floats(1, 1000))
def test_no_end_is_rounded_inward(energy_kwh: float, low: float, high: float) -> None:
    result = equivalents(energy_kwh, interval=(energy_kwh * low, energy_kwh * high), phone="1")
    found = re.search(r"charges \((.+)-(.+)\)", sentence(result, "phone_charges", "it").replace("e-", "E"))
    if found is not None:
        ends = [float(end.replace(",", "").replace("E", "e-")) for end in found.groups()]
        assert ends[0] <= energy_kwh * low * (1 + 1e-6)
        assert ends[1] >= energy_kwh * high * (1 - 1e-6)


def test_a_factor_without_a_range_gives_a_plain_number() -> None:
    result = equivalents(11.49, grid="study-recorded", phone="epa-2024", car="epa-current")
    assert sentence(result, "phone_charges", "11.49 kWh") == "11.49 kWh = 522 phone charges"
    assert sentence(result, "carbon_g_co2e", "11.49 kWh") == "11.49 kWh = 1.59 kg CO2e on the grid study-recorded"
    assert sentence(result, "car_km", "11.49 kWh") == (
        "11.49 kWh = 6.53 km by car (epa-current) (6.27-6.58), car epa-current low end unverified"
    )


def test_a_factor_from_memory_is_said_to_be_unverified() -> None:
    said = sentence(equivalents(10.0, grid="world-2024"), "per_capita_days", "10 kWh")
    assert (
        said == "10 kWh = 0.121 days of a person's emissions (usa-2023) (0.119-0.122), per-capita usa-2023 unverified"
    )


@pytest.mark.parametrize("name", QUANTITIES)
@pytest.mark.parametrize("energy_kwh", [0.0, 1e-12, 0.5, 1e15])
def test_every_quantity_of_any_size_can_be_said(name: str, energy_kwh: float) -> None:
    result = equivalents(energy_kwh, interval=(energy_kwh * 0.9, energy_kwh * 1.1))
    assert sentence(result, name, "it").startswith("it = ")


def test_short_distances_are_told_in_metres() -> None:
    result = equivalents(carbon_g_co2e=0.0006 * 390, car="epa-2023")
    assert quantity_text("car_km", result.car_km) == "0.966 m"


def test_range_across_a_unit_names_both_units() -> None:
    result = equivalents(carbon_g_co2e=251.5)
    assert span_text("car_km", result.ranges["car_km"]) == "990 m to 1.04 km"
    assert "(980 m-1.04 km)" in sentence(result, "car_km", "251.5 g")
