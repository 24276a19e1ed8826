from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner, Result

from harness.cli.main import app
from harness.errors import UserInputError


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["equivalents", *arguments], env={"COLUMNS": "120"})


def document(*arguments: str) -> dict[str, object]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    parsed = json.loads(result.stdout)
    assert isinstance(parsed, dict)
    return parsed


@pytest.mark.parametrize(("edition", "charges"), [("epa-2023", 957.5), ("epa-2024", 522.3)])
def test_json_has_the_phone_charges_of_the_edition(edition: str, charges: float) -> None:
    assert document("11.49kWh", "--phone", edition)["phone_charges"] == pytest.approx(charges, abs=0.05)


def test_json_has_every_key_and_the_factors_with_their_sources() -> None:
    found = document("1,594 g", "--car", "epa-2023", "--grid", "study-recorded")
    assert found["derived_from"] == "mass"
    assert found["carbon_g_co2e"] == 1594.0
    assert found["energy_kwh"] == pytest.approx(11.49, abs=0.005)
    assert found["car_miles"] == pytest.approx(4.09, abs=0.005)
    assert found["car_km"] == pytest.approx(6.578, abs=0.0005)
    assert found["web_searches"] == pytest.approx(38_294, abs=1)
    factors = found["factors"]
    assert isinstance(factors, list)
    assert [(each["kind"], each["edition"], each["value"]) for each in factors][:4] == [
        ("grid", "study-recorded", 138.75),
        ("phone", "epa-current", 0.019),
        ("car", "epa-2023", 390.0),
        ("web-search", "google-2009", 0.3),
    ]
    assert all({"id", "unit", "source", "year", "low", "high"} <= set(each) for each in factors)


def test_table_shows_amounts_factors_editions_and_sources() -> None:
    result = run("11.49kWh", "--phone", "epa-2023")
    assert result.exit_code == 0
    for words in ("957.5", "0.012 kWh/charge", "epa-2023", "world-2024", "5.435 kg", "Ember", "US EPA", "2009", "473"):
        assert words in result.stdout


def test_amount_needs_no_quotes() -> None:
    assert document("5", "kWh", "--phone", "epa-2023") == document("5kWh", "--phone", "epa-2023")


def test_table_rounds_a_long_factor() -> None:
    shown = run("1kWh", "--grid", "usa-2023").stdout
    assert "369.5 g CO2e/kWh" in shown
    assert "369.473" not in shown
    assert document("1kWh", "--grid", "usa-2023")["carbon_g_co2e"] == 369.473


def test_distance_below_a_kilometre_is_shown_in_metres() -> None:
    assert "0.966 m" in run("0.234 g", "--car", "epa-2023").stdout


def test_unchecked_factor_is_shown_as_a_caveat() -> None:
    assert "Caveat: car epa-2023" in run("1kWh", "--car", "epa-2023").stdout


def test_a_grid_that_nobody_named_is_said_with_its_range() -> None:
    shown = run("11.49kWh").stdout
    assert "Caveat: No grid was named: world-2024 stands in" in shown
    assert "rest on the grid world-2024, as none was named: their ranges are those of all grids on record" in shown
    caveats = document("11.49kWh")["caveats"]
    assert isinstance(caveats, list)
    assert "grid-not-named" in [each["code"] for each in caveats]
    assert "named" not in run("11.49kWh", "--grid", "france").stdout
    assert "No grid was named" not in run("11.49kWh", "--grid", "world-2024").stdout
    low, high = document("11.49kWh")["ranges"]["carbon_g_co2e"].values()  # type: ignore[index]
    assert (low, high) == pytest.approx((11.49 * 30.08, 11.49 * 713.441))


def test_water_takes_the_pue_once() -> None:
    asked = ["10kWh", "--pue", "1.2", "--wue-on-site", "0.3", "--wue-off-site", "3.0"]
    found = document(*asked)
    names = ("facility_energy_kwh", "water_on_site_l", "water_off_site_l", "water_l")
    assert [found[name] for name in names] == pytest.approx([12, 3, 36, 39])  # 10 x 0.3 + 12 x 3.0
    assert found["energy_kwh"] == 10
    shown = run(*asked).stdout
    assert "CO2e, car, flight, tree and person are of the facility, x PUE 1.2" in shown
    assert "39.0 l" in shown
    assert "PUE counts once" in shown
    spanned = document("10kWh", "--pue", "1.2")["ranges"]["water_l"]  # type: ignore[index]
    assert spanned["low"] == pytest.approx(10 * 0.09 + 12 * 1.947)  # Microsoft's on site, Germany's electricity
    assert "water_l" not in document("10kWh")


def test_co2e_is_of_the_facility_once_a_pue_is_given() -> None:
    found = document("10kWh", "--pue", "1.2", "--grid", "100", "--phone", "0.02", "--car", "400")
    assert (found["energy_kwh"], found["facility_energy_kwh"], found["phone_charges"]) == pytest.approx((10, 12, 500))
    assert (found["carbon_g_co2e"], found["car_miles"]) == pytest.approx((1200, 3))  # 12 kWh x 100 g, / 400 g
    bounds = found["boundaries"]
    assert isinstance(bounds, dict)
    assert [bounds[name] for name in ("energy_kwh", "phone_charges", "carbon_g_co2e", "car_km", "tree_years")] == [
        *("IT", "IT", "facility", "facility", "facility")
    ]
    factors = found["factors"]
    assert isinstance(factors, list)
    assert [each["kind"] for each in factors].count("pue") == 1
    assert "= 1.20 kg CO2e on the grid given, of its facility" in run("10kWh", "--pue", "1.2", "--grid", "100").stdout
    plain = document("10kWh", "--grid", "100")
    assert (plain["carbon_g_co2e"], set(plain["boundaries"].values())) == (1000, {"as given"})  # type: ignore[attr-defined]


def test_list_names_editions_with_value_year_and_source() -> None:
    result = run("--list")
    assert result.exit_code == 0
    for words in ("epa-2023", "epa-current *", "study-recorded", "138.75", "world-2024 *", "Power Hungry Processing"):
        assert words in result.stdout


def test_list_as_json_is_one_document_with_defaults() -> None:
    found = document("--list")
    defaults, factors = found["defaults"], found["factors"]
    assert isinstance(defaults, dict)
    assert isinstance(factors, list)
    assert (defaults["phone"], defaults["car"], defaults["grid"]) == ("epa-current", "epa-current", "world-2024")
    assert {"phone", "car", "grid", "web-search", "tree"} <= {each["kind"] for each in factors}


def test_sentences_tell_what_used_it() -> None:
    shown = run("0.66", "kWh", "--for", "1,000 images", "--phone", "epa-current").stdout
    assert "1,000 images = 35 phone charges (30-55)" in shown


def test_a_mass_of_many_things_is_told_for_some_of_them() -> None:
    found = document("6,500", "kg", "--over", "50e9", "--per", "1e6")  # the SCI-for-AI text prints 0.13 g
    assert found["carbon_g_co2e"] == pytest.approx(130.0)
    assert document("10", "kWh", "--over", "1000", "--phone", "epa-2024")["energy_kwh"] == pytest.approx(0.01)


@pytest.mark.parametrize(("grid", "mass"), [("study-recorded", 1594.2375), ("297.6", 3419.424), ("0 g/kWh", 0.0)])
def test_a_grid_is_a_name_or_a_number(grid: str, mass: float) -> None:
    assert document("11.49kWh", "--grid", grid)["carbon_g_co2e"] == pytest.approx(mass)


@pytest.mark.parametrize(
    "arguments",
    [
        ["1kWh", "--grid", "wrold-2024"],
        ["1kWh", "--phone", "epa-1999"],
        ["1kWh", "--phone", ""],
        ["1kWh", "--car", "tesla"],
        ["nan kWh"],
        ["5 miles"],
        ["--", "-5 kWh"],
        ["-5 kWh"],
        ["-5", "kWh"],
        ["--phnoe", "epa-2023", "1kWh"],
        [],
        ["1kWh", "--list"],
        ["1kWh", "--grid", "-5"],
        ["1kWh", "--grid", "nan"],
        ["1kWh", "--grid", "aws-eu-west-1"],
        ["1kWh", "--pue", "0.9"],
        ["1kWh", "--wue-on-site", "-1"],
        ["1kWh", "--wue-off-site", "mars"],
        ["5 kg", "--pue", "1.2"],
        ["1kWh", "--grid", "hours.csv"],
        ["1kWh", "--household", "mars"],
        ["5 kW"],
        ["5 kWh", "--over", "0"],
        ["5 kWh", "--over", "nan"],
        ["5 kWh", "--over", "2", "--per", "-1"],
    ],
)
def test_bad_input_raises_a_user_input_error_and_prints_nothing(arguments: list[str]) -> None:
    result = run(*arguments)
    assert isinstance(result.exception, UserInputError)
    assert "\n" not in result.exception.message
    assert result.stdout == ""


def test_importing_the_module_loads_no_footprint_and_no_pydantic() -> None:
    heavy = {"pydantic", "numpy", "harness.footprint"}
    code = f"import sys, harness.cli.equivalents; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
