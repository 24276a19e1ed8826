from __future__ import annotations

from pathlib import Path

import pytest
from command import config, harness

from harness.store.files import find_runs


def test_years_break_even_trends_and_levers_are_printed(tmp_path: Path) -> None:
    shown = harness(
        "outlook", "0.34", "Wh", "--growth", "10%..40%", "--years", "2", "--lever", "liquid-cooling", cwd=tmp_path
    )
    assert shown.code == 0, shown.err
    for words in (
        "Projection: a year of use",
        "gpt3-2020",
        "bloomz-7b1",
        "8.930 kt",
        "Projection: published trends carried forward",
        "forecast, not measured: a billion queries in 2030",
        "lever liquid-cooling, claimed, not measured: x 0.700 to 0.800 of energy cost; applied",
        "as ranges; cost: liquid-cooling, claimed, not measured",
        "Projection: break-even",
        "/ its PUE 1.1",
        "No range is known in break-even of training, training_pue, energy_kwh",
        "unverified",
        "lever liquid-cooling claimed, no source",
        "[claimed in the press, no source]",
        "2 years on",
        "no --boundary was given: taken as the node's, so that PUE comes on top",
        "+10% to +40% a year",
    ):
        assert words in shown.out


def test_json_is_ranges_marked_as_a_projection(tmp_path: Path) -> None:
    asked = ("outlook", "1Wh", "--per-day", "1000", "--pue", "1.2")
    found = harness(*asked, "--grid", "400", "--json", cwd=tmp_path).document
    named = harness(*asked, "--factor", "grid=world-2024", "--json", cwd=tmp_path).document
    assert not any("No grid was named" in words for words in named["assumptions"])
    assert found["projection"] is True
    assert found["years"][0]["carbon"] == {"low": pytest.approx(175_320), "high": pytest.approx(175_320), "unit": "g"}
    assert set(found["years"][1]["energy"]) == {"low", "high", "unit"}
    assert len(found["years"]) == 6
    shown = harness(*asked, "--boundary", "node", "--years", "1", cwd=tmp_path).out
    assert ("after 1 year" in shown, "1 years" in shown, "no --boundary" in shown) == (True, False, False)
    assert "365,000, held" in shown


@pytest.mark.parametrize(
    ("per_day", "mass"),
    [("1", "175 g"), ("1000", "175 kg"), ("1e6", "175 t"), ("1e9", "175 kt")],  # 365.25 Wh x 1.2 x 400 g/kWh = 175 g
)
def test_a_mass_is_told_in_grams_kilograms_or_tonnes(tmp_path: Path, per_day: str, mass: str) -> None:
    shown = harness(
        "outlook", "1Wh", "--per-day", per_day, "--pue", "1.2", "--grid", "400", "--years", "1", cwd=tmp_path
    ).out
    assert mass in shown
    assert not {"mt", "µt", "Mg", "Gg"} & set(shown.split())


def test_without_an_energy_there_are_trends_alone(tmp_path: Path) -> None:
    found = harness("outlook", "--json", cwd=tmp_path).document
    assert (found["years"], found["break_even"]) == ([], [])
    assert len(found["trends"]) == 5


def test_the_energy_of_a_run(tmp_path: Path) -> None:
    assert harness("run", config(tmp_path), "--in-process", "--results", tmp_path / "results", cwd=tmp_path).code == 0
    run = find_runs([tmp_path / "results"])[0].record
    assert run.summary is not None
    found = harness("outlook", "--run", run.run_id, "--factor", "gpu-to-system=1.5", "--json", cwd=tmp_path).document
    each = found["energy_per_generation"]
    assert each["value"] == pytest.approx(run.summary.node_gpus_energy_j.value / 3.6e6 * 1.5)
    assert each["low"] < each["value"] < each["high"]
    shown = harness("outlook", "--run", run.run_id, cwd=tmp_path).out
    assert "Projection: a year of use, by the facility, as ranges, simulated" in shown
    assert "training did, simulated" in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["5", "kg"],
        ["-5", "Wh"],
        ["nan", "Wh"],
        ["300", "W"],
        ["1Wh", "--boundary", "moon"],
        ["1Wh", "--growth", "fast"],
        ["1Wh", "--years", "0"],
        ["1Wh", "--per-day", "-3"],
        ["1Wh", "--per-day", "many"],
        ["1Wh", "--lever", "magic"],
        ["1Wh", "--grid", "Frnace"],
        ["1Wh", "--grid", "0"],
        ["1Wh", "--factor", "gpu-to-system=0"],
        ["1Wh", "--grid", "france", "--factor", "grid=usa"],
        ["1Wh", "--run", "some"],
        ["--run", "nothing"],
        ["--run", ""],
        ["1Wh", "--yaers", "3"],
    ],
)
def test_bad_input_is_one_sentence_and_exit_two(tmp_path: Path, arguments: list[str]) -> None:
    refused = harness("outlook", *arguments, cwd=tmp_path)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("error: ")
    assert len(refused.err.splitlines()) <= 2
