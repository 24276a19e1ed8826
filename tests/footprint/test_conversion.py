from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserInputError
from harness.footprint.conversion import (
    Boundary,
    Machine,
    board_factor,
    choose,
    embodied_steps,
    energy_steps,
    impact_steps,
    joined,
    software_carbon_intensity,
)
from harness.footprint.factors import factor
from harness.footprint.grids import unnamed_grid
from harness.footprint.places import stand_ins
from harness.footprint.propagation import Input, Line, evaluate


def energy(value: float, low: float | None = None, high: float | None = None) -> Input:
    return Input(name="energy_kwh", label="", value=value, low=low, high=high, unit="kWh", origin="given", source="")


def held(duration_s: float) -> Input:
    return Input(name="duration_s", label="", value=duration_s, unit="s", origin="measured", source="")


def lines(value: float, boundary: Boundary = "node", market: str | None = None, **named: str) -> dict[str, Line]:
    choices = choose({kind.replace("_", "-"): each for kind, each in named.items()})
    by_contract = None if market is None else factor("grid-market", market)
    chain = joined(((energy(value),), ()), energy_steps(boundary, choices), impact_steps(choices, by_contract))
    return evaluate(chain.inputs, chain.steps)


def test_water_takes_the_pue_once() -> None:
    # 10 kWh of IT energy: 10 x 0.3 on site and 12 x 3.0 in making the electricity
    found = lines(10.0, pue="1.2", wue_onsite="0.3", wue_offsite="3.0")
    assert found["facility_energy_kwh"].value == pytest.approx(12.0)
    assert found["water_l"].value == pytest.approx(39.0)
    assert found["water_l"].inputs.count("pue") == 1


def test_water_of_facility_energy_finds_its_it_part() -> None:
    found = lines(12.0, "facility", pue="1.2", wue_onsite="0.3", wue_offsite="3.0")
    assert found["node_energy_kwh"].value == pytest.approx(10.0)
    assert found["water_l"].value == pytest.approx(39.0)


def test_device_to_node_to_facility_to_carbon_and_cost() -> None:
    choice = {"gpu_to_system": "1.5", "pue": "1.2", "grid": "138.75", "electricity_price": "10"}
    found = lines(10.0, "device", **choice)
    assert found["node_energy_kwh"].value == pytest.approx(15.0)
    assert found["facility_energy_kwh"].value == pytest.approx(18.0)
    assert found["carbon_g_co2e"].value == pytest.approx(2497.5)  # 18 x 138.75
    assert (found["cost"].value, found["cost"].unit) == (pytest.approx(1.8), "USD")  # 18 x 10 cents
    assert found["carbon_g_co2e"].unknown == ("energy_kwh", "gpu_to_system", "pue", "grid")


def test_the_study_counts_the_node_and_no_pue() -> None:
    assert lines(11.49, pue="1", grid="study-recorded")["carbon_g_co2e"].value == pytest.approx(1594.2375)


def test_market_based_is_told_only_by_name_and_beside_the_location() -> None:
    assert "carbon_market_g_co2e" not in lines(1.0)
    found = lines(10.0, market="google-2025", pue="1.2", grid="400")
    assert found["carbon_market_g_co2e"].value == pytest.approx(1500)  # 12 x 125
    assert found["carbon_g_co2e"].value == pytest.approx(4800)


def test_ranges_of_factors_meet_at_their_ends() -> None:
    found = lines(10.0, pue="uptime-2025", grid="world-2024")["carbon_g_co2e"]
    assert (found.low, found.value, found.high) == pytest.approx((10 * 1.44 * 471, 10 * 1.54 * 473, 10 * 1.54 * 473))


def test_a_place_that_nobody_named_spans_all_editions_and_a_named_one_does_not() -> None:
    assert choose({})["pue"].low == 1.08
    assert choose({"pue": "uptime-2025"})["pue"].low == 1.44
    unnamed, named = choose({})["grid"], choose({"grid": "world-2024"})["grid"]
    assert (unnamed.low, unnamed.value, unnamed.high) == (30.08, 473, 713.441)  # Norway, the world, India
    assert (named.low, named.high) == (471, 473)
    assert "30.08 to 713.4 g CO2e/kWh" in (unnamed_grid(unnamed) or "")
    assert unnamed_grid(named) is None


def test_a_named_grid_brings_its_own_water_and_a_price_of_elsewhere_is_said() -> None:
    water = {place: choose({"grid": place})["wue-offsite"].value for place in ("france-2024", "sweden-2023")}
    assert water == {"france-2024": 3.6737, "sweden-2023": 6.0315}
    assert choose({"grid": "france-2024", "wue-offsite": "2"})["wue-offsite"].value == 2
    usa, oregon = choose({"grid": "usa-2024"}), choose({"grid": "oregon-2016"})
    assert (usa["wue-offsite"].low, usa["wue-offsite"].high) == (3.1321, 3.142)  # its two editions
    assert (oregon["wue-offsite"].low, oregon["wue-offsite"].high) == (1.947, 6.0315)  # no state's: all editions
    codes = {name: [each.code for each in stand_ins(choose({"grid": name}))] for name in ("france-2024", "usa-2024")}
    assert codes == {"france-2024": ["electricity-price-stands-in"], "usa-2024": []}
    assert [each.message.split(":")[0] for each in stand_ins(oregon)] == [
        "No water in making electricity of Oregon, USA is on record"
    ]
    assert len(stand_ins(choose({"grid": "400"}))) == 2  # of a number nobody knows the place
    assert stand_ins(choose({})) == ()


def test_embodied_carbon_of_eight_gpus_and_their_server() -> None:
    # 8 x (150 + 5700 / 8) kg = 6,900 kg over three years; 1,000 generations hold it for 10 s each
    choices = choose({"embodied-gpu": "150"})
    machine = Machine(8, "NVIDIA A100-SXM4-80GB", held(10.0))
    count = Input(name="generations", label="", value=1000, unit="1", origin="given", source="")
    carbon = Input(name="carbon_g_co2e", label="", value=271.163, unit="g", origin="given", source="")
    chain = joined(((count, carbon), ()), embodied_steps(machine, choices))
    found = evaluate(chain.inputs, chain.steps)
    assert found["embodied_g_co2e"].value == pytest.approx(6.9e6 * 10_000 / (3 * 365.25 * 86_400))  # 728.8
    # At the low end a server of 2,500 kg and six years: 8 x (150 + 2500 / 8) = 3,700 kg. The rest is at its high end.
    assert found["embodied_g_co2e"].low == pytest.approx(3.7e6 * 10_000 / (6 * 365.25 * 86_400))  # 195.4
    assert found["embodied_g_co2e"].high == found["embodied_g_co2e"].value
    assert found["sci_g_co2e_per_generation"].value == pytest.approx(1.0, abs=5e-4)  # (271.2 + 728.8) / 1,000
    assert found["sci_g_co2e_per_1000"].value == pytest.approx(1000.0, abs=0.5)


@pytest.mark.parametrize(
    ("board", "edition"),
    [
        ("NVIDIA A100-SXM4-80GB", "a100-2022"),
        ("NVIDIA H100 80GB HBM3", "h100-2024"),
        ("NVIDIA H200", "h100-2024"),
        ("NVIDIA RTX A1000", None),
        ("Tesla V100-SXM2-16GB", None),
    ],
)
def test_making_a_board_is_known_by_its_chip_or_not_at_all(board: str, edition: str | None) -> None:
    found = board_factor(board)
    assert (found.edition if found else None) == edition
    if edition is None:
        chain = embodied_steps(Machine(1, board, held(1.0)), choose({}))
        assert set(chain.missing) == {"embodied_g_co2e", "sci_g_co2e_per_generation", "sci_g_co2e_per_1000"}
        assert chain.steps == ()


def test_sci_of_the_example_in_the_text_of_sci_for_ai() -> None:
    # 6,500 kg over 50e9 tokens: 130 g per million, where the text prints 0.13
    assert software_carbon_intensity(6_500_000.0, 0.0, 50e9, per=1e6) == pytest.approx(130.0)
    assert software_carbon_intensity(900.0, 100.0, 1000) == 1.0


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"pue": "0.9"}, "at least 1"),
        ({"pue": "gogle-2025"}, "google-2025"),
        ({"wue-onsite": "-1"}, "negative"),
        ({"electricity-price": "inf"}, "finite"),
        ({"puee": "1.2"}, "pue"),
        ({"server-lifetime": "0"}, "above 0"),
    ],
)
def test_choices_that_cannot_be_are_refused_in_one_sentence(named: dict[str, str], words: str) -> None:
    with pytest.raises(UserInputError, match=words) as caught:
        choose(named)
    assert "\n" not in caught.value.message


@given(
    st.floats(0.001, 1e6),
    st.floats(1.0, 3.0),
    st.floats(0.0, 5.0),
    st.floats(0.0, 10.0),
    st.sampled_from(["node", "facility"]),
)
def test_water_is_the_same_from_either_side_of_the_pue(
    it_kwh: float, pue: float, onsite: float, offsite: float, side: Boundary
) -> None:
    given_kwh = it_kwh * pue if side == "facility" else it_kwh
    found = lines(given_kwh, side, pue=repr(pue), wue_onsite=repr(onsite), wue_offsite=repr(offsite))
    assert found["water_l"].value == pytest.approx(it_kwh * (onsite + pue * offsite), rel=1e-9)
