from __future__ import annotations

from typing import Any

import pytest
from fakes import measurement_of, run_spec, source_info

from harness.errors import UserInputError
from harness.footprint.conversion import choose
from harness.footprint.explain import Explanation, explain, leading_to, when_it_ran
from harness.footprint.factors import load_factors
from harness.footprint.grids import find_grid
from harness.measure.summary import summarize
from harness.records import Failure, RunRecord

GPU = source_info(device_name="NVIDIA A100-SXM4-80GB")
PLAIN = {"gpu-to-system": "1.5", "pue": "1.2", "grid": "400", "embodied-gpu": "150"}


def record(*, sources: tuple[Any, ...] = (GPU,), failed: bool = False, **changes: Any) -> RunRecord:
    """Five windows of 100 generations: 29 J and 0.1 s each."""
    windows = () if failed else (measurement_of(),) * 5
    content: dict[str, Any] = {
        "run_id": "model-b4-1",
        "campaign": "tests",
        "origin": "measured",
        "spec": run_spec(batch_size=4),
        "environment": None,
        "started_at_utc": "2026-03-01T12:30:00+00:00",
        "finished_at_utc": "2026-03-01T13:15:00+00:00",
        "status": "failed" if failed else "complete",
        "sources": sources,
        "measurements": windows,
        "summary": None if failed else summarize(windows, sources, "no meter", 0.02),
        "failure": Failure(kind="timeout", message="It took too long.", phase="measure") if failed else None,
    }
    return RunRecord.model_validate(content | changes)


def value(told: Explanation, name: str) -> float:
    return next(line.value for line in told.lines if line.name == name)


def test_the_chain_of_a_run_by_hand() -> None:
    told = explain(record(), choose(PLAIN))
    assert value(told, "device_energy_kwh") == pytest.approx(29 / 3600)  # 29 kJ
    assert value(told, "node_energy_kwh") == pytest.approx(29 / 3600 * 1.5)
    assert value(told, "facility_energy_kwh") == pytest.approx(29 / 3600 * 1.8)
    assert value(told, "carbon_g_co2e") == pytest.approx(5.8)  # 0.0145 kWh x 400
    embodied_g = (150 + 5700 / 8) * 1000 * 100 / (3 * 365.25 * 86400)  # one GPU for 100 s
    assert value(told, "embodied_g_co2e") == pytest.approx(embodied_g)
    assert value(told, "sci_g_co2e_per_generation") == pytest.approx((5.8 + embodied_g) / 1000)
    assert told.missing == {"metered_kwh": "no meter; modelled instead"}


def test_the_time_that_a_generation_takes_has_the_scatter_of_its_windows() -> None:
    windows = tuple(measurement_of(busy_s=busy_s) for busy_s in (9.0, 10.0, 11.0, 10.0, 10.0))  # 100 requests each
    told = explain(record(measurements=windows), choose(PLAIN))
    held = next(each for line in told.lines for each in line.used if each.name == "duration_s")
    assert held.value == pytest.approx(0.1)
    assert held.standard_uncertainty == pytest.approx(0.0031623, rel=1e-4)  # sd 0.0070711 / sqrt(5)
    assert (held.low, held.high) == pytest.approx((0.1 - 0.0087799, 0.1 + 0.0087799), rel=1e-4)  # t(4) = 2.7764
    assert "5 windows" in held.source
    embodied = next(line for line in told.lines if line.name == "embodied_g_co2e")
    assert "duration_s" not in embodied.unknown
    assert "server-lifetime ecologits-2024 high end unverified" in embodied.unverified


def test_one_generation_is_a_thousandth_of_a_thousand() -> None:
    one, many = explain(record(), choose(PLAIN), generations=1), explain(record(), choose(PLAIN))
    assert value(one, "carbon_g_co2e") == pytest.approx(value(many, "carbon_g_co2e") / 1000)
    assert value(one, "sci_g_co2e_per_generation") == pytest.approx(value(many, "sci_g_co2e_per_generation"))


def test_every_line_carries_its_formula_inputs_factor_and_source() -> None:
    told = explain(record(), choose({}))
    for line in told.lines:
        assert line.formula
        assert {each.name for each in line.used} <= set(line.needs)
        assert all(each.source for each in line.used)
    water = next(line for line in told.lines if line.name == "water_l")
    factors = {each.factor.kind for each in water.used if each.factor}
    assert factors == {"wue-onsite", "wue-offsite"}
    assert "gpu_energy_j" not in water.inputs  # it follows from every GPU, not from those that ran it
    assert Explanation.model_validate_json(told.model_dump_json()) == told


def test_measured_node_energy_takes_the_place_of_the_model() -> None:
    summary = record().summary
    assert summary is not None
    measured = summary.model_copy(update={"node_energy_j": summary.gpu_energy_j.scaled(2.0), "node_missing": None})
    told = explain(record(summary=measured), choose(PLAIN))
    assert value(told, "node_energy_kwh") == pytest.approx(58 / 3600)
    assert "gpu_to_system" not in {name for line in told.lines for name in line.inputs}
    assert told.missing == {}


def test_only_what_leads_to_a_number() -> None:
    told = leading_to(explain(record(), choose(PLAIN)), "co2e")
    assert [line.name for line in told.lines] == [
        "gpus_energy_kwh",
        "node_energy_kwh",
        "facility_energy_kwh",
        "carbon_g_co2e",
    ]
    assert "embodied" not in " ".join(caveat.message for caveat in told.caveats)
    with pytest.raises(UserInputError, match="--market-based"):
        leading_to(told, "co2e-market")


def test_a_board_without_a_figure_has_no_embodied_carbon_and_says_why() -> None:
    told = explain(record(sources=(source_info(device_name="Tesla V100-SXM2-16GB"),)), choose({}))
    assert "embodied_g_co2e" not in {line.name for line in told.lines}
    assert "no figure for making a Tesla V100" in told.missing["embodied_g_co2e"]
    with pytest.raises(UserInputError, match="no figure for making"):
        leading_to(told, "sci")


def test_a_failed_run_has_nothing_to_explain() -> None:
    with pytest.raises(UserInputError, match="no result to explain"):
        explain(record(failed=True), choose({}))


def test_simulated_energy_is_marked_and_sentences_say_so() -> None:
    told = explain(record(origin="simulated"), choose({}))
    assert told.mark == "simulated"
    assert told.sentences[0] == "1,000 generations = 0.42 phone charges (0.35-0.69), device energy [simulated]"
    assert told.sentences_of == "device energy; car and tree: CO2e of the facility"
    plain = explain(record(), choose(PLAIN)).sentences  # 5.8 g / 393 g a mile x 1,609 m; by the device alone 13 m
    assert plain[1].startswith("1,000 generations = 23.8 m by car (epa-current) (")
    assert plain[1].endswith(", CO2e of the facility")
    assert [said.rpartition(", ")[2] for said in plain] == [
        *("device energy", "CO2e of the facility", "device energy", "device energy", "CO2e of the facility")
    ]
    kinds = {each.id: each.kind for each in load_factors()}
    used = [kinds[name] for name in told.sentence_factors]
    assert used == ["grid", "phone", "car", "kettle", "streaming", "tree"]
    only = leading_to(told, "water")
    assert (only.sentences, only.sentences_of, only.sentence_factors) == ((), "", ())
    energies = [each for line in told.lines for each in line.used if each.name.endswith("_energy_j")]
    assert {each.origin for each in energies} == {"simulated"}


def test_a_grid_that_nobody_named_is_a_caveat() -> None:
    codes = [caveat.code for caveat in explain(record(), choose({})).caveats]
    assert codes == [
        *(["factor-unverified"] * 2),  # the price, and what making an A100 emitted
        *(["range-unverified"] * 2),
        *("grid-not-named", "embodied-assumed", "range-unknown"),
    ]
    own = explain(record(), choose({"grid": "france-2024"}))
    assert [each.code for each in own.caveats if each.code.endswith("stands-in")] == ["electricity-price-stands-in"]
    for number, found in {"cost": True, "water": False}.items():
        told = [each.code for each in leading_to(own, number).caveats]
        assert ("electricity-price-stands-in" in told) is found
    assert "grid-not-named" not in [caveat.code for caveat in explain(record(), choose(PLAIN)).caveats]
    of_co2 = explain(record(), choose(PLAIN | {"grid": "oregon-2016"})).caveats
    assert [each.message for each in of_co2 if each.code == "co2-only"] == [
        "grid oregon-2016 counts CO2 and no other greenhouse gas."
    ]


def test_an_hourly_grid_is_matched_to_when_the_run_ran(tmp_path) -> None:
    path = tmp_path / "grid.csv"
    path.write_text("timestamp,g/kWh\n2026-03-01T12:00Z,300\n2026-03-01T13:00Z,600\n", encoding="utf-8")
    run = record()  # from 12:30 to 13:15
    grid = find_grid(str(path), when=when_it_ran(run))
    assert grid.value == pytest.approx(400)  # (30 min x 300 + 15 min x 600) / 45 min
    line = next(line for line in explain(run, choose(PLAIN | {"grid": grid})).lines if line.name == "carbon_g_co2e")
    assert line.value == pytest.approx(5.8)
    assert (line.low, line.high) == (pytest.approx(5.8 * 0.75, rel=0.2), pytest.approx(5.8 * 1.5, rel=0.2))
