from __future__ import annotations

from pathlib import Path

import pytest
from command import config, harness

from harness.store.files import find_runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("runs")
    assert harness("run", config(where), "--in-process", "--results", where / "results", cwd=where).code == 0
    return where


def run_id(folder: Path) -> str:
    return next(run.record.run_id for run in find_runs([folder / "results"]) if "text" in run.record.run_id)


def test_the_chain_is_printed_with_formula_factor_and_source(folder: Path) -> None:
    shown = harness("explain", run_id(folder), cwd=folder)
    assert shown.code == 0, shown.err
    for words in (
        "facility_energy_kwh = node_energy_kwh x pue",
        "water_l = wue_onsite x node_energy_kwh + wue_offsite x facility_energy_kwh",
        "Uptime Institute",
        "[simulated]",
        "SCI (ISO/IEC 21031)",
        "grid-not-named",
        "1,000 generations = ",
        "In other terms, each with what it is of, measurement and factors together",
        "CO2e of the facility [simulated]",
        "at 50 % a generation's share is twice as much",
        "phone-charge-kwh-epa-current",
    ):
        assert words in shown.out.replace("Caveat: No grid was named", "grid-not-named")


def test_json_has_formula_inputs_factor_and_source_per_line(folder: Path) -> None:
    told = harness("explain", run_id(folder), "--json", "--pue", "1.2", "--grid", "study-recorded", cwd=folder).document
    lines = {line["name"]: line for line in told["lines"]}
    grid = lines["carbon_g_co2e"]["used"][0]
    assert (grid["factor"]["edition"], grid["value"], grid["unit"]) == ("study-recorded", 138.75, "g CO2e/kWh")
    assert lines["carbon_g_co2e"]["value"] == pytest.approx(lines["facility_energy_kwh"]["value"] * 138.75)
    assert lines["facility_energy_kwh"]["value"] == pytest.approx(lines["node_energy_kwh"]["value"] * 1.2)
    assert told["mark"] == "simulated"
    assert told["sentences_of"] == "device energy; car and tree: CO2e of the facility"
    assert "grid-study-implied" in told["sentence_factors"]


def test_only_one_number_and_the_market_by_name(folder: Path) -> None:
    water = harness("explain", run_id(folder), "--of", "water", "--json", cwd=folder).document
    assert water["lines"][-1]["name"] == "water_l"
    assert "carbon_g_co2e" not in [line["name"] for line in water["lines"]]
    both = harness("explain", run_id(folder), "--market-based", "google-2025", cwd=folder).out
    assert "market-based, as asked for; not in SCI" in both
    assert "market" not in harness("explain", run_id(folder), cwd=folder).out
    assert "No grid was named" not in harness("explain", run_id(folder), "--grid", "world-2024", cwd=folder).out


def test_an_hourly_file_must_cover_the_run(folder: Path) -> None:
    record = next(run.record for run in find_runs([folder / "results"]) if run.record.run_id == run_id(folder))
    day = record.started_at_utc[:10]
    rows = "".join(f"{day}T{hour:02}:00Z,{300 + hour}\n" for hour in range(24))
    (folder / "day.csv").write_text("timestamp,g/kWh\n" + rows, encoding="utf-8")
    (folder / "other.csv").write_text("timestamp,g/kWh\n1999-01-01T00:00Z,300\n", encoding="utf-8")
    (folder / "twice.csv").write_text("timestamp,g/kWh\n" + rows + f"{day}T07:00Z,1\n", encoding="utf-8")
    if record.finished_at_utc[:10] == day:
        told = harness("explain", run_id(folder), "--grid", "day.csv", "--of", "co2e", "--json", cwd=folder).document
        assert 300 <= told["lines"][-1]["used"][0]["value"] <= 323
    for name, words in (("other.csv", "no intensity for all of the run's time"), ("twice.csv", "overlapping hours")):
        refused = harness("explain", run_id(folder), "--grid", name, cwd=folder)
        assert (refused.code, refused.out) == (2, "")
        assert words in refused.err.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "no campaign, run or folder"),
        ([""], "name of the run is empty"),
        (["quick"], "means 2 runs"),
        (["RUN", "--of", "watr"], "'watr'"),
        (["RUN", "--per", "0"], "from 1"),
        (["RUN", "--grid", "Frnace"], "nearest"),
        (["RUN", "--pue", "0.5"], "at least 1"),
        (["RUN", "--pue", "nan"], "finite"),
        (["RUN", "--factor", "wue-onsite"], "does not name a factor"),
        (["RUN", "--factor", "wue=1"], "nearest"),
        (["RUN", "--factor", "pue=1.2", "--pue", "1.3"], "given twice"),
        (["RUN", "--market-based", "gogle"], "google-2025"),
        (["RUN", "--market-based", "-5"], "negative"),
        (["RUN", "--market-based", "2001"], "No grid exceeds 2,000"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_two(folder: Path, arguments: list[str], words: str) -> None:
    given = [run_id(folder) if each == "RUN" else each for each in arguments]
    refused = harness("explain", *given, cwd=folder)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("error: ")
    assert words in refused.err.splitlines()[0] + refused.err


def test_factors_are_listed_by_what_they_are_about(folder: Path) -> None:
    shown = harness("list", "factors", "--about", "phone", cwd=folder)
    assert shown.code == 0
    assert "epa-2024" in shown.out
    assert "unverified" in shown.out  # the battery's energy is from memory
    assert "grid" not in shown.out
    everything = harness("list", "factors", "--json", cwd=folder).document["factors"]
    assert len(everything) > 140
    assert {"id", "value", "low", "high", "unit", "region", "year", "scope", "source", "url", "verified"} <= set(
        everything[0]
    )
    for bad in (["list", "factors", "--about", "fone"], ["list", "runs", "--about", "phone"], ["list", "factor"]):
        assert harness(*bad, cwd=folder).code == 2
