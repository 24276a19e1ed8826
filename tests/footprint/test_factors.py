from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from harness import units
from harness.errors import UserInputError
from harness.footprint.defaults import DEFAULTS
from harness.footprint.factors import Factor, about, chosen, editions, factor, load_factors, spanning

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "factors.csv"

# Rows of the shared file that are exact definitions (harness.units), results, rules or formulas.
NOT_FACTORS = {
    "joule_per_kwh",
    "km_per_mile",
    "kg_per_lb",
    "study_text_gen_kwh_per_1000",
    "study_image_gen_kwh_per_1000",
    "study_text_class_kwh_per_1000",
    "study_sdxl_kwh_per_1000",
    "study_sdxl_g_per_1000",
    "study_total_energy_kwh",
    "study_total_kg",
    "sci_formula",
    "sci_ai_consumer_unit",
    "aies_star_rule",
    "mlperf_min_duration_s",
    "mlperf_power_max_uncertainty",
}
# Recommended defaults, merged as ranges into the edition they recommend.
MERGED = {"phone_charge_kwh_default": "phone-charge-kwh-epa-current", "car_g_per_km_default": "car-g-per-mile-epa-393"}
# Rows of ours that the shared file has in the text of a note or a source, or the text.
IN_NOTES = {
    "grid-codecarbon-gcp-us-central1",
    "grid-codecarbon-gcp-europe-west9",
    "grid-codecarbon-gcp-europe-west3",
    "grid-codecarbon-gcp-europe-central2",
    "grid-market-google",
    "pue-patterson",
    "server-gpu-count",
    "train-gpt3-level-2020-usd",
    "train-gpt3-level-2022-usd",
    "train-resnet50-2017-usd",
    "train-resnet50-2019-usd",
    "price-gpt35-level-2022",
    "price-gpt35-level-2024",
    "lever-cooling",
    "lever-data-selection",
}
# Rows whose range we leave out: an end of another boundary (the share of a whole instance; direct CO2 alone).
NO_RANGE = {"embodied-gpu-a100-kg", "grid-world-ember-2025"}


@pytest.fixture(scope="module")
def shared_rows() -> dict[str, dict[str, str]]:
    if not SHARED.exists():
        pytest.skip(f"{SHARED} is not in this checkout's neighbourhood")
    with SHARED.open(encoding="utf-8", newline="") as file:
        return {row["key"]: row for row in csv.DictReader(file)}


def by_id() -> dict[str, Factor]:
    return {each.id: each for each in load_factors()}


def number(cell: str) -> float | None:
    return float(cell) if cell else None


def test_what_is_from_memory_is_marked_for_the_value_and_each_end_of_its_range(
    shared_rows: dict[str, dict[str, str]],
) -> None:
    search, flight = factor("web-search", "google-2009"), factor("flight", "short-economy-2024")
    assert (search.verified, search.range_text) == ("secondary", "0.04 unverified to 0.3")
    assert search.checked_text == "read in a secondary source, low end unverified"
    assert (flight.doubt_text, flight.range_text) == ("unverified", "0.156 to 0.19 unverified")  # 0.156 was read
    # Every row of the shared file that has a range, and "M" anywhere but for a year or a model card, marks an end.
    of_years = {"car-g-per-mile-epa-409", "car-g-per-mile-epa-398", "car-g-per-mile-epa-403", "train-llama31-405b-t"}
    for key, row in shared_rows.items():
        mine = by_id().get(key.replace("_", "-"))
        if mine is None or mine.low is None or mine.id in of_years or not re.search(r"\bM\b", row["note"]):
            continue
        read_ends = {"price-us-residential"}  # its value is from memory, both ends were read
        assert bool(mine.unverified_ends) is (mine.id not in read_ends), mine.id


def test_every_value_range_and_unit_is_the_shared_one(shared_rows: dict[str, dict[str, str]]) -> None:
    ours = by_id()
    for key, row in shared_rows.items():
        if key in NOT_FACTORS or key in MERGED:
            continue
        mine = ours.pop(key.replace("_", "-"))
        assert mine.value == float(row["value"]), key
        if mine.id not in MERGED.values():
            shared_range = (None, None) if mine.id in NO_RANGE else (number(row["low"]), number(row["high"]))
            assert (mine.low, mine.high) == shared_range, key
        assert mine.unit.startswith(row["unit"].replace("/mi", "/mile").removesuffix(" (WLTP)")), key
    assert set(ours) == IN_NOTES, "factors that the shared file does not know"


def test_cloud_regions_are_those_of_the_shared_note(shared_rows: dict[str, dict[str, str]]) -> None:
    note = shared_rows["grid_codecarbon_gcp_us_west1"]["note"]
    for region in ("us-central1", "europe-west9", "europe-west3", "europe-central2"):
        assert f"{region} {factor('grid', f'gcp-{region}-2023').value:g}" in note


def test_market_based_figure_follows_from_the_prompt_it_is_derived_from() -> None:
    per_prompt = factor("prompt-carbon", "gemini-2025").value, factor("prompt-energy", "gemini-2025").value
    assert factor("grid-market", "google-2025").value == pytest.approx(per_prompt[0] / per_prompt[1] * 1000)  # 125


def test_recommended_defaults_are_the_ranges_of_the_current_editions(shared_rows: dict[str, dict[str, str]]) -> None:
    phone, row = factor("phone", "epa-current"), shared_rows["phone_charge_kwh_default"]
    assert (phone.value, phone.low, phone.high) == (float(row["value"]), float(row["low"]), float(row["high"]))
    car, row = factor("car", "epa-current"), shared_rows["car_g_per_km_default"]
    assert car.low is not None
    assert car.high is not None
    per_km = [round(end / units.KM_PER_MILE, 1) for end in (car.value, car.low, car.high)]
    assert per_km == [float(row["value"]), float(row["low"]), float(row["high"])]


def test_exact_factors_left_out_are_those_of_units(shared_rows: dict[str, dict[str, str]]) -> None:
    assert float(shared_rows["joule_per_kwh"]["value"]) == units.J_PER_KWH
    assert float(shared_rows["km_per_mile"]["value"]) == units.KM_PER_MILE
    assert float(shared_rows["kg_per_lb"]["value"]) * 1000 == units.G_PER_LB


def test_a_value_that_the_shared_file_has_from_memory_is_unverified(shared_rows: dict[str, dict[str, str]]) -> None:
    ours = by_id()
    for key, row in shared_rows.items():
        status = row["note"].replace(";", " ").split(" ")[0].rstrip(",.")
        if status == "M" and key not in NOT_FACTORS:
            assert ours[key.replace("_", "-")].verified == "unverified", key
    # Kept apart in the notes: the status of the value is not the first one written.
    assert factor("car", "epa-typical").verified == "unverified"


@pytest.mark.parametrize(
    ("kind", "edition", "value", "unit"),
    [
        ("phone", "epa-2023", 0.012, "kWh/charge"),
        ("phone", "epa-2024", 0.022, "kWh/charge"),
        ("phone", "epa-current", 0.019, "kWh/charge"),
        ("car", "epa-2023", 390.0, "g CO2e/mile"),
        ("car", "epa-current", 393.0, "g CO2e/mile"),
        ("grid", "study-recorded", 138.75, "g CO2e/kWh"),
        ("grid", "study-stated", 297.6, "g CO2e/kWh"),
        ("grid", "world-2024", 473.0, "g CO2e/kWh"),
        ("grid", "usa-2023", 369.473, "g CO2e/kWh"),
        ("grid", "france-2023", 56.039, "g CO2e/kWh"),
        ("web-search", "google-2009", 0.3, "Wh/search"),
        ("pue", "uptime-2024", 1.56, "ratio"),
    ],
)
def test_the_editions_people_ask_for(kind: str, edition: str, value: float, unit: str) -> None:
    found = factor(kind, edition)
    assert (found.value, found.unit) == (value, unit)


def test_every_factor_has_a_full_source_and_an_honest_status() -> None:
    for each in load_factors():
        assert not each.source.lower().startswith("same"), each.id
        assert each.source not in {"recommendation", ""}, each.id
        assert each.url is None or each.url.startswith("https://"), each.id


@pytest.mark.parametrize(
    ("grid", "pounds_per_mwh", "rounded_by"),
    [("oregon-2016", 305.891, 0.005), ("usa-states-2016", 998.443, 0.05), ("usa-marginal-2021", 1562.4, 0.05)],
)
def test_values_derived_from_pounds_per_megawatt_hour_follow(
    grid: str, pounds_per_mwh: float, rounded_by: float
) -> None:
    grams_per_kwh = pounds_per_mwh * units.G_PER_LB / 1000
    assert factor("grid", grid).value == pytest.approx(grams_per_kwh, abs=rounded_by)


def test_notes_name_the_disagreement_of_text_and_record() -> None:
    assert "138.75" in (factor("grid", "study-stated").note or "")
    assert "297.6" in (factor("grid", "study-recorded").note or "")


def test_unknown_edition_offers_the_nearest_names() -> None:
    with pytest.raises(UserInputError) as caught:
        factor("grid", "wrold-2024")
    assert "world-2024" in caught.value.message
    assert "harness list factors --about grid" in caught.value.hint
    assert "\n" not in caught.value.message


def test_country_without_a_year_offers_its_years() -> None:
    with pytest.raises(UserInputError, match="france-2023"):
        factor("grid", "France")


def test_unknown_kind_offers_the_nearest_kinds() -> None:
    with pytest.raises(UserInputError) as caught:
        editions("phones")
    assert "phone" in caught.value.hint


def test_capitals_of_an_edition_do_not_matter() -> None:
    assert factor("grid", " USA-2023 ") == factor("grid", "usa-2023")


def test_load_is_cached_and_factors_are_frozen() -> None:
    assert load_factors() is load_factors()
    with pytest.raises(ValidationError):
        load_factors()[0].value = 1.0  # type: ignore[misc]


def test_a_range_that_misses_its_value_is_refused() -> None:
    good = factor("phone", "epa-current").model_dump()
    with pytest.raises(ValidationError, match="lies outside"):
        Factor.model_validate({**good, "low": 0.02})


@pytest.mark.parametrize(
    ("kind", "edition", "text"),
    [
        ("grid", "usa-2023", "369.5"),
        ("grid", "study-recorded", "138.75"),
        ("phone", "epa-2023", "0.012"),
        ("car", "epa-2023", "390"),
        ("training-cost", "gpt4-2023", "78,400,000"),
        ("trend", "hardware-cost", "-0.3"),
    ],
)
def test_tables_show_five_digits_whole_and_round_longer_ones(kind: str, edition: str, text: str) -> None:
    assert factor(kind, edition).value_text == text


def test_every_factor_says_its_scope_and_none_in_the_file_is_the_users() -> None:
    assert all(each.scope and each.verified != "given" for each in load_factors())
    assert "market" in factor("grid-market", "google-2025").scope
    assert all("market" not in each.scope for each in editions("grid"))


def test_a_number_is_a_factor_of_the_user() -> None:
    pue = chosen("pue", "1.2")
    assert (pue.value, pue.unit, pue.verified, pue.source) == (1.2, "ratio", "given", "given by the user")
    assert chosen("pue", "uptime-2024") == factor("pue", "uptime-2024")


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "0.9"])
def test_a_number_that_no_pue_can_be_is_refused(text: str) -> None:
    with pytest.raises(UserInputError):
        chosen("pue", text)


def test_a_place_that_nobody_named_spans_all_editions() -> None:
    pue = spanning(factor("pue", "uptime-2025"))
    assert (pue.low, pue.value, pue.high) == (1.08, 1.54, 1.59)  # Google's best year to Uptime's worst mean
    price = spanning(factor("electricity-price", DEFAULTS["electricity-price"]))
    assert (price.low, price.value, price.high) == (7.52, 12.75, 16.88)  # US cents only
    assert "spans all editions on record in US cents/kWh, oregon-industrial-2023 to" in (price.note or "")


def test_about_finds_kinds_first_and_sources_where_no_kind_fits() -> None:
    assert {each.kind for each in about("phone")} == {"phone", "phone-carbon", "phone-battery"}
    assert {each.kind for each in about("AVERT")} == {"grid"}
    with pytest.raises(UserInputError, match="phone"):
        about("fone")
