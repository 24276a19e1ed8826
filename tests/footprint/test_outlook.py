from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserInputError
from harness.footprint.break_even import Usage, break_even, references
from harness.footprint.conversion import choose
from harness.footprint.factors import chosen, factor
from harness.footprint.outlook import Outlook, outlook, parse_growth
from harness.footprint.propagation import Input
from harness.footprint.trends import forecasts, inference_price_fold, trends, yearly_fold
from harness.study.catalog import trainings_kwh

PLAIN = {"pue": "1.2", "grid": "400", "wue-onsite": "0.3", "wue-offsite": "3.0", "electricity-price": "10"}


def energy(kwh: float) -> Input:
    return Input(name="energy_kwh", label="", value=kwh, unit="kWh", origin="given", source="")


def told(kwh: float = 0.001, per_day: str = "1000", growth: str = "0%", years: int = 2, **changes: object) -> Outlook:
    usage = Usage(chosen("searches-per-day", per_day), parse_growth(growth), years)
    return outlook(("node", energy(kwh)), usage, choose(PLAIN), **changes)  # type: ignore[arg-type]


def test_a_year_of_use_by_hand() -> None:
    # 1 Wh x 1,000 a day x 365.25 = 365.25 kWh of IT, 438.3 kWh of the facility
    today = told().years[0]
    assert today.generations.low == pytest.approx(365_250)
    assert (today.energy.low, today.energy.high) == pytest.approx((438.3, 438.3))
    assert today.carbon.low == pytest.approx(175_320)  # x 400 g
    assert today.cost.low == pytest.approx(43.83)  # x 0.10 USD
    assert today.water.low == pytest.approx(365.25 * 0.3 + 438.3 * 3.0)


def test_a_year_ahead_reaches_from_no_gain_to_the_published_one() -> None:
    second = told(growth="10%..50%").years[2]
    assert second.generations.low == pytest.approx(365_250 * 1.1**2)
    assert second.energy.high == pytest.approx(438.3 * 1.5**2)  # more is asked, and efficiency stops
    assert second.energy.low == pytest.approx(438.3 * 1.1**2 / 1.4**2)  # +40 % a year goes on


def test_every_year_ahead_is_a_range_and_marked_as_a_projection() -> None:
    found = told(years=5)
    assert found.projection is True
    assert len(found.years) == 6
    assert all(year.energy.low < year.energy.high for year in found.years[1:])
    growing = told(growth="20%", years=1).years[1].generations  # a single growth may stop
    assert (growing.low, growing.high) == pytest.approx((365_250, 365_250 * 1.2))
    assert any("growing from not at all to +20% a year" in words for words in told(growth="20%").assumptions)
    assert any("use is held at today's" in words for words in found.assumptions)
    assert "projection" in Outlook.model_validate_json(found.model_dump_json()).model_dump()


@pytest.mark.parametrize(
    ("model", "training", "tuning", "inference", "printed"),
    [
        ("bigscience/bloomz-7b1", 51_686, 7_571, 0.0001, 592_570_000),
        ("bigscience/bloomz-1b7", 17_052, 1_081, 6.2e-5, 292_467_741),
        ("bigscience/bloomz-560m", 10_505, 543, 5.4e-5, 204_592_592),
    ],
)
def test_break_even_as_in_the_study_s_table_5(
    model: str, training: float, tuning: float, inference: float, printed: int
) -> None:
    assert trainings_kwh()[model] == training + tuning
    assert int(break_even(training + tuning, inference)) == pytest.approx(printed, abs=1)


def test_break_even_compares_like_with_like() -> None:
    found = {(each.training, each.of): each for each in told(trainings=references()).break_even}
    gpt3 = found[("gpt3-2020", "node energy")]  # 1,287 MWh have PUE 1.1 in them: 1,170 MWh of the node
    assert (gpt3.boundary, gpt3.alike) == ("facility", "/ its PUE 1.1")
    # From today's energy per generation to that of hardware two years on: 1.4^2 times as many.
    assert (gpt3.generations.low, gpt3.generations.high) == pytest.approx((1.17e9, 1.17e9 * 1.96))
    assert gpt3.days is not None
    assert (gpt3.days.low, gpt3.days.high) == pytest.approx((1.17e6, 1.17e6 * 1.96))
    assert {"training", "training_pue", "energy_kwh"} <= set(gpt3.unknown)
    bloom = found[("bloom-2022", "node energy")]  # 433 MWh of GPUs; the rest of the node: 1.15 to 2.3 times
    assert bloom.boundary == "device"
    assert (bloom.compared.low, bloom.compared.high) == pytest.approx((433_196 * 1.15, 433_196 * 2.3))
    llama = found[("llama31-405b", "CO2e of the facility")]
    assert llama.generations.low == pytest.approx(8.930e9 / 0.48)  # 1.2 Wh x 400 g/kWh = 0.48 g each
    emitted = found[("gpt3-2020", "CO2e of the facility")]  # 502 t are without PUE: not of the facility
    assert (emitted.generations.low, emitted.generations.high) == pytest.approx((552e6 / 0.48, 588e6 / 0.48 * 1.96))
    assert emitted.unverified == ("training-carbon gpt3-2020 high end unverified",)
    assert "the facility alone lies within its range" in found[("bloom-2022", "CO2e of the facility")].alike
    assert all(each.generations.low < each.generations.high for each in found.values())


def test_devices_are_compared_with_devices() -> None:
    # The share of the rest of the machine stands on both sides and moves once: 433.196 MWh / 1 Wh.
    usage = Usage(chosen("searches-per-day", "1000"), (0.0, 0.0), 1)
    wide = choose(PLAIN | {"gpu-to-system": "sdxl-2023"})
    bloom = next(each for each in references() if each.name == "bloom-2022")
    found = outlook(("device", energy(0.001)), usage, wide, [bloom]).break_even[0].generations
    assert (found.low, found.high) == pytest.approx((4.33196e8, 4.33196e8 * 1.4))


def test_nothing_asked_never_breaks_even() -> None:
    found = told(per_day="0", trainings=references())
    assert found.break_even[0].days is None
    assert found.years[2].energy.high == 0


def test_levers_are_claims_and_change_only_what_they_are_of() -> None:
    plain, cooled = told(), told(levers=["liquid-cooling"])
    # 0.7 to 0.8 of 438.3 kWh would be less than the 365.25 kWh of IT: no PUE is below 1.
    assert (cooled.years[0].cost.low, cooled.years[0].cost.high) == pytest.approx((36.525, 36.525))
    assert any("effective PUE at least 1); that bound is reached" in words for words in cooled.assumptions)
    usage, warm = Usage(chosen("searches-per-day", "1000"), (0.0, 0.0), 1), choose(PLAIN | {"pue": "1.5"})
    free = outlook(("node", energy(0.001)), usage, warm, levers=["liquid-cooling"])
    assert (free.years[0].cost.low, free.years[0].cost.high) == pytest.approx((54.7875 * 0.7, 54.7875 * 0.8))
    assert not any("that bound is reached" in words for words in free.assumptions)
    assert cooled.years[0].energy == plain.years[0].energy
    assert (plain.years[1].claimed, cooled.years[1].claimed) == ((), ("cost: liquid-cooling, claimed, not measured",))
    assert "lever liquid-cooling claimed, no source" in cooled.years[1].unverified
    assert {(each.name, each.applied) for each in cooled.levers} == {
        ("liquid-cooling", True),
        ("data-selection", False),
    }
    assert all("claimed, not measured" in each.claimed for each in plain.levers)
    selected = told(levers=["data-selection"], trainings=references()).break_even[0]
    # up to ten times less training, and up to 1.96 times more generations of later hardware
    assert (selected.generations.low, selected.generations.high) == pytest.approx((1.17e8, 1.17e9 * 1.96))
    assert selected.claimed == ("training: data-selection, claimed, not measured",)


def test_trends_carried_forward() -> None:
    found = {each.name: each for each in trends(8)}
    price = found["price of inference at the level of GPT-3.5"]
    assert "over 23 months: 19.1 times less a year" in price.says
    gpt3 = found["training to the level of GPT-3"]
    assert gpt3.if_it_goes_on.low == pytest.approx(29.52, abs=0.01)  # 450,000 x 0.3^8; ARK says 30
    assert gpt3.projection.high == 450_000
    assert "-68.7% a year" in gpt3.says
    dearest = found["training of the dearest model"]
    assert (dearest.if_it_goes_on.low, dearest.if_it_goes_on.high) == pytest.approx((192e6 * 2**8, 192e6 * 2.9**8))
    assert found["energy of the same computation"].if_it_goes_on.low == pytest.approx(1.4**-8)
    assert found["cost of the same hardware"].if_it_goes_on.high == pytest.approx(0.7**8)
    assert all(each.projection.low < each.projection.high for each in found.values())


def test_price_fell_two_hundred_and_eighty_times_in_twenty_three_months() -> None:
    fold, months = inference_price_fold()
    assert (round(fold, 1), months) == (285.7, 23)
    assert yearly_fold(fold, months) == pytest.approx(19.1, abs=0.05)
    assert fold == pytest.approx(factor("trend", "inference-price").value, abs=0.05)


def test_ark_s_forecasts_follow_from_ark_s_own_trend() -> None:
    gpt3, billion, day = forecasts()
    assert (gpt3.recomputed.low, gpt3.recomputed.high) == pytest.approx((450_000 * 0.3**8, 450_000 * 0.313**8))
    assert (billion.stated, billion.recomputed.low) == (650, pytest.approx(656.1, abs=0.05))
    assert day.stated == pytest.approx(5525)  # 8.5 x 650


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("20%", (0.0, 0.2)),  # it may stop
        ("0.2", (0.0, 0.2)),
        ("0%", (0.0, 0.0)),
        ("-100%", (-1.0, 0.0)),
        ("10%..40%", (0.1, 0.4)),
        ("40% to 10%", (0.1, 0.4)),
        ("-5%", (-0.05, 0.0)),
        ("20 %", (0.0, 0.2)),
        ("1", (0.0, 1.0)),
        ("x20", (0.0, 19.0)),
        ("x1.1..x1.4", (0.1, 0.4)),
    ],
)
def test_growth_is_a_share_or_two(text: str, ends: tuple[float, float]) -> None:
    assert parse_growth(text) == pytest.approx(ends)


@pytest.mark.parametrize(
    "text", ["", "fast", "nan", "inf%", "20%..", "20%..20%", "1..2..3", "-200%", "1e9", "x-1", "x5%", "x200"]
)
def test_other_growth_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(UserInputError) as caught:
        parse_growth(text)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("text", ["20", "1.5", "0.2..20", "+20"])
def test_a_bare_number_above_one_could_be_percent_or_times(text: str) -> None:
    with pytest.raises(UserInputError, match="times as much") as caught:
        parse_growth(text)
    assert caught.value.hint in {"Write 20% or x20.", "Write 1.5% or x1.5."}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kwh": 0.0}, "above 0"),
        ({"kwh": 1e-320}, "too small to project"),
        ({"years": 0}, "1 to 30 years"),
        ({"years": 31}, "1 to 30 years"),
        ({"per_day": "-1"}, "negative"),
        ({"per_day": "nan"}, "finite"),
        ({"levers": ["magic"]}, "liquid-cooling"),
        ({"per_day": "1e300", "kwh": 1e300}, "too large"),
    ],
)
def test_what_cannot_be_projected_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UserInputError, match=words):
        told(**changes)  # type: ignore[arg-type]


@given(st.floats(1e-9, 10), st.floats(0, 1e12), st.floats(-0.5, 2), st.floats(0.01, 2), st.integers(1, 5))
def test_more_years_never_make_it_surer(kwh: float, per_day: float, low: float, more: float, years: int) -> None:
    found = told(kwh, repr(per_day), f"{low:.6%}..{low + more:.6%}", years)
    widths = [year.energy.high / year.energy.low for year in found.years if year.energy.low > 0]
    assert all(later >= earlier * (1 - 1e-9) for earlier, later in itertools.pairwise(widths))
