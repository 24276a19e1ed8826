from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserInputError
from harness.footprint.codecarbon_tables import installed_grids, read_grids
from harness.footprint.factors import factor
from harness.footprint.grids import Grids, find_grid
from harness.footprint.hourly import parse_hourly, read_hourly

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Grids:
    """A folder in CodeCarbon's layout, hand-made."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "private_infra" / "2023").mkdir(parents=True)
    (folder / "cloud").mkdir()
    mix = {
        "FRA": {"carbon_intensity": 50.0, "country_name": "France", "year": 2025},
        "GEO": {"carbon_intensity": 135.0, "country_name": "Georgia", "year": 2022},
        "ATL": {"carbon_intensity": None, "country_name": "Atlantis", "year": 2022},
    }
    states = {
        "_source": {"name": "EPA eGRID2023, annual CO2 equivalent total output emission rate", "year": 2023},
        "oregon": {"emissions": 364.963, "regionCode": "OR"},
        "georgia": {"emissions": 717.445, "regionCode": "GA"},
        "usa": {"emissions": 800.0, "regionCode": "US"},
    }
    (folder / "private_infra" / "global_energy_mix.json").write_text(json.dumps(mix), encoding="utf-8")
    (folder / "private_infra" / "2023" / "usa_emissions.json").write_text(json.dumps(states), encoding="utf-8")
    (folder / "cloud" / "impact.csv").write_text(
        "\ufeffprovider,region,city,country_name,impact,source\ngcp,us-west1,The Dalles,USA,94,https://example\n",
        encoding="utf-8",
    )
    return read_grids(folder, "9.9")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("France", 50.0),
        ("FRA", 50.0),
        ("FR", 50.0),
        ("us-oregon", 364.963 * 0.45359237),
        ("Oregon", 165.5444),
        ("US-OR", 165.5444),
        ("gcp-us-west1", 94.0),
        ("GCP us-west1", 94.0),
        ("us-west1", 94.0),
        ("codecarbon-fra-2025", 50.0),
        ("france-2023", 56.039),  # an edition on record is exact, whatever is installed
        ("study-recorded", 138.75),
        ("297.6", 297.6),
        ("297.6 g/kWh", 297.6),
        ("297.6 gCO2e/kWh", 297.6),
        ("0", 0.0),
    ],
)
def test_grids_by_country_state_cloud_region_edition_or_number(tables: Grids, text: str, value: float) -> None:
    assert find_grid(text, tables).value == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "edition"),
    [
        ("France", "france-2024"),
        ("FRA", "france-2024"),
        ("GBR", "uk-2023"),
        ("united kingdom", "uk-2023"),
        ("oregon", "oregon-2016"),
        ("us-oregon", "oregon-2016"),
        ("us-west1", "gcp-us-west1-2023"),
        ("gcp-europe-west9", "gcp-europe-west9-2023"),
        ("usa", "usa-2024"),
        ("world", "world-2024"),  # that which stands in where none is named
        ("FR", "france-2024"),
        ("gb", "uk-2023"),
        ("UK", "uk-2023"),
    ],
)
def test_without_codecarbon_the_newest_edition_on_record_serves(text: str, edition: str) -> None:
    assert find_grid(text) == factor("grid", edition)


def test_a_grid_of_codecarbon_names_its_version_table_and_year(tables: Grids) -> None:
    found = find_grid("oregon", tables)
    assert "CodeCarbon 9.9" in found.source
    assert "364.963 lb/MWh" in found.source
    assert (found.unit, found.year, found.verified) == ("g CO2e/kWh", "2023", "primary")


def test_a_name_of_two_places_asks_which(tables: Grids) -> None:
    with pytest.raises(UserInputError, match=r"Georgia or Georgia, USA") as caught:
        find_grid("georgia", tables)
    assert caught.value.hint == "Say which: geo, us-georgia."
    assert find_grid("us-georgia", tables).value == pytest.approx(717.445 * 0.45359237)
    assert find_grid("geo", tables).value == 135.0


@pytest.mark.parametrize(
    ("text", "offered"), [("Frnace", "france"), ("us-oregn", "us-oregon"), ("Atlantis", "nearest")]
)
def test_an_unknown_grid_offers_the_nearest(tables: Grids, text: str, offered: str) -> None:
    with pytest.raises(UserInputError, match=offered) as caught:
        find_grid(text, tables)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "-inf g/kWh"])
def test_a_number_that_no_intensity_can_be_is_refused(text: str) -> None:
    with pytest.raises(UserInputError, match=r"finite|negative"):
        find_grid(text)


def test_a_number_above_what_any_grid_has_is_refused() -> None:
    assert find_grid("2000").value == 2000
    for text in ("2001", "1000000 g/kWh"):
        with pytest.raises(UserInputError, match="No grid exceeds 2,000 g CO2e/kWh"):
            find_grid(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("aws-us-east-1", "--grid usa or aws-us-east-1-legacy"),  # states come with the extra alone
        ("us-west-2", "--grid us-oregon or usa or aws-us-west-2-legacy"),
        ("Azure France Central", "--grid fra."),
        ("westeurope", "The grid of its country (NLD) comes with the codecarbon extra"),
    ],
)
def test_a_cloud_region_without_an_intensity_offers_its_country(text: str, said: str) -> None:
    with pytest.raises(UserInputError, match=r"No current intensity of (Amazon|Microsoft)'s region") as caught:
        find_grid(text)
    assert said in caught.value.hint
    assert find_grid("aws-us-west-2-legacy").value == 297.6  # the old one on record, by its full name


def test_a_table_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "private_infra").mkdir()
    (tmp_path / "private_infra" / "global_energy_mix.json").write_text("[1", encoding="utf-8")
    with pytest.raises(UserInputError, match="cannot be read"):
        read_grids(tmp_path, "9.9")
    assert read_grids(tmp_path / "nothing", "9.9") == ()


def test_the_installed_tables_hold_countries_states_and_regions() -> None:
    found = installed_grids()
    if not found:
        pytest.skip("the codecarbon extra is not installed")
    assert {"fra", "us-oregon", "gcp-us-west1"} <= {name for names, _ in found for name in names}
    assert all(0 <= each.value < 2000 for _, each in found)


# --- an hourly file --------------------------------------------------------------------------------


def hourly(folder: Path, *rows: str, header: str = "timestamp,g/kWh") -> Path:
    path = folder / "grid.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_the_mean_weighs_each_hour_by_how_long_the_run_ran_in_it(tmp_path: Path) -> None:
    path = hourly(tmp_path, "2026-03-01T12:00Z,300", "2026-03-01T13:00Z,500", "2026-03-01T14:00Z,900")
    found = find_grid(str(path), when=(NOON + HOUR / 2, NOON + HOUR + HOUR / 4))
    assert found.value == pytest.approx((0.5 * 300 + 0.25 * 500) / 0.75)  # 366.7
    assert (found.low, found.high, found.verified) == (300, 500, "given")
    assert "grid.csv, 2 rows" in found.source
    alone = find_grid(str(path), when=(NOON, NOON + HOUR / 2))
    assert (alone.value, alone.low, alone.high) == (300, None, None)  # one row says nothing of how far it may be off


def test_rows_in_any_order_with_offsets_or_without_are_utc(tmp_path: Path) -> None:
    path = hourly(tmp_path, "2026-03-01T14:00+01:00,500", "2026-03-01 12:00,300", "", "2026-03-01T14:00:00,700")
    series = read_hourly(path)
    assert series.starts == (NOON, NOON + HOUR, NOON + 2 * HOUR)
    assert series.intensities == (300, 500, 700)
    told = series.during(NOON, NOON + 2 * HOUR).note or ""
    assert "without an offset are taken as UTC: 1 of 2" in told
    with_offsets = read_hourly(hourly(tmp_path, "2026-03-01T12:00Z,300", "2026-03-01T14:00+01:00,500"))
    assert "offset" not in (with_offsets.during(NOON, NOON + HOUR).note or "")


@pytest.mark.parametrize(
    "name",
    [
        "g/kWh",
        "gCO2/kWh",
        "g CO2e / kWh",
        "Carbon intensity gCO₂eq/kWh (Life cycle)",
        "g_per_kwh",
        "gco2eq_per_kwh",
        "intensity",
        "carbon_intensity",
        "Value",
        "grams of CO2-eq per kWh",
    ],
)
def test_a_header_names_grams_per_kilowatt_hour_or_an_intensity_without_unit(tmp_path: Path, name: str) -> None:
    path = hourly(tmp_path, "2026-03-01T12:00Z,300", header=f"timestamp,{name}")
    assert read_hourly(path).intensities == (300,)


@pytest.mark.parametrize(
    "name",
    [
        "kg/kWh",
        "kgCO2e/kWh",
        "lb/kWh",
        "t/kWh",
        "mg/kWh",
        "g/MWh",
        "lbs per MWh",
        "kg per kWh",
        "EUR/kWh",
        "price",
        "intensity (kg/kWh)",
        "carbon_intensity_kg",
        "µg/kWh",
        "",
    ],
)
def test_a_header_with_another_unit_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserInputError, match="not grams per kWh") as caught:
        read_hourly(hourly(tmp_path, "2026-03-01T12:00Z,300", header=f"timestamp,{name}"))
    assert "g/kWh" in (caught.value.hint or "")


@pytest.mark.parametrize(("header", "columns"), [("timestamp,price,g/kWh", "3 columns"), ("timestamp", "1 column")])
def test_other_than_two_columns_are_refused(tmp_path: Path, header: str, columns: str) -> None:
    with pytest.raises(UserInputError, match=columns):
        read_hourly(hourly(tmp_path, "2026-03-01T12:00Z,300", header=header))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["2026-03-01T12:00Z,300", "2026-03-01T12:00Z,310"], "overlapping hours"),
        (["2026-03-01T12:00Z,300", "2026-03-01T13:00Z,310", "2026-03-01T13:30Z,310"], "overlapping hours"),
        (["2026-03-01T12:00Z,300", "2026-03-01T13:00+01:00,310"], "overlapping hours"),
        (["2026-03-01T12:00:00Z,300", "2026-03-01T12:00:01Z,310"], "rows 1 s apart"),
        (["2026-03-01T12:00Z,-3"], "not below 0"),
        (["2026-03-01T12:00Z,nan"], "finite"),
        (["2026-03-01T12:00Z,2001"], "No grid exceeds 2,000"),
        (["2026-03-01T12:00Z,much"], "'much'"),
        (["noon,300"], "not a timestamp"),
        (["2026-03-01,300"], "a date without a time of day"),
        (["2026-03-01T12:00Z,300,0.12"], "3 columns"),
        (["2026-03-01T12:00Z"], "not a timestamp and an intensity"),
        ([], "no rows"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence(tmp_path: Path, rows: list[str], words: str) -> None:
    with pytest.raises(UserInputError, match=words) as caught:
        read_hourly(hourly(tmp_path, *rows))
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_a_file_without_its_header_or_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match="no header"):
        read_hourly(hourly(tmp_path, "2026-03-01T13:00Z,310", header="2026-03-01T12:00Z,300"))
    with pytest.raises(UserInputError, match="Cannot read"):
        read_hourly(tmp_path / "none.csv")
    with pytest.raises(UserInputError, match="by the hour"):
        find_grid("grid.csv")


@pytest.mark.parametrize(
    ("start", "end"), [(NOON - HOUR, NOON), (NOON, NOON + 3 * HOUR), (NOON + 3 * HOUR, NOON + 4 * HOUR)]
)
def test_a_run_outside_of_the_rows_or_in_a_gap_gets_no_intensity(
    tmp_path: Path, start: datetime, end: datetime
) -> None:
    path = hourly(tmp_path, "2026-03-01T12:00Z,300", "2026-03-01T13:00Z,500", "2026-03-01T16:00Z,900")
    with pytest.raises(UserInputError, match="no intensity for all of the run's time") as caught:
        read_hourly(path).during(start, end)
    assert "each holds 1 h as most are apart, with gaps after 1." in caught.value.hint


def test_the_step_that_was_found_and_its_holes_are_told(tmp_path: Path) -> None:
    path = hourly(tmp_path, *(f"2026-03-01T{time}Z,300" for time in ("09:00", "10:00", "10:30", "11:00")))
    told = read_hourly(path).during(NOON - 2 * HOUR, NOON - HOUR).note or ""
    assert "A row holds 30 min, as most rows are apart. After 1 of them the file has a hole" in told
    with pytest.raises(UserInputError, match="no intensity") as caught:
        read_hourly(path).during(NOON - 3 * HOUR, NOON - 2 * HOUR)
    assert "each holds 30 min as most are apart, with gaps after 1." in caught.value.hint


@given(st.lists(st.floats(0, 2000), min_size=2, max_size=30), st.floats(0, 1), st.floats(0, 1))
def test_a_mean_lies_between_the_hours_it_is_of(values: list[float], first: float, second: float) -> None:
    rows = [["timestamp", "g/kWh"]] + [[(NOON + i * HOUR).isoformat(), repr(v)] for i, v in enumerate(values)]
    whole = len(values) * HOUR
    last = NOON + whole - timedelta(seconds=1)
    start, end = sorted((min(NOON + first * whole, last), min(NOON + second * whole, last)))
    found = parse_hourly(Path("x.csv"), rows).during(start, end)
    assert min(values) <= found.value <= max(values)


@given(st.lists(st.lists(st.text(max_size=12) | st.sampled_from(["2026-03-01T12:00Z", "300"]), max_size=4), max_size=8))
def test_any_csv_is_read_or_refused_in_one_sentence(rows: list[list[str]]) -> None:
    try:
        series = parse_hourly(Path("x.csv"), rows)
    except UserInputError as error:
        assert error.hint  # noqa: PT017 - the error is one of two allowed outcomes
    else:
        assert len(series.starts) == len(series.intensities) > 0
