"""`harness show` as a ranking: the same rows at every width and as JSON, with what each sign means."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from command import harness
from fakes import measurement_of, run_spec, source_energy_of, source_info, trace_of
from rich.console import Console

from harness.cli.options import editions
from harness.cli.ranking import STRETCHES, print_ranking
from harness.measure.summary import summarize
from harness.records import Caveat, Failure, RunRecord
from harness.report.ranking import per_kwh
from harness.report.stored import left_out, ranking, stored_ratings, stored_runs
from harness.store.files import TRACE, write_run
from harness.store.traces import power_shapes

GPU = source_info(device_name="NVIDIA A100-SXM4-80GB")
# Joules per generation: 36 J are 0.01 kWh per 1,000. Equal bands from 0.01 to 0.06 part at 0.02, 0.03, 0.04, 0.05.
MODELS = {"frugal": 36.0, "middling": 126.0, "greedy[/]": 216.0}


def record_of(model: str, energy_j: float | None, campaign: str = "tests") -> RunRecord:
    """Two equal windows of 100 generations, or a failed run; the greedy one has a caveat."""
    windows = (measurement_of(source_energy_of(energy_j=100 * (energy_j or 1) + 100)),) * 2
    spec = run_spec(model={"id": model})
    content = {
        "run_id": spec.run_id,
        "campaign": campaign,
        "origin": "simulated",
        "spec": spec,
        "environment": None,
        "started_at_utc": "2026-01-01T00:00:00+00:00",
        "finished_at_utc": "2026-01-01T00:01:00+00:00",
        "sources": (GPU,),
        "measurements": windows,
    }
    if energy_j is None:
        failure = Failure(kind="timeout", message="It took too long.", phase="measure")
        return RunRecord.model_validate(content | {"status": "failed", "failure": failure})
    caveats = (Caveat(code="not-steady", message="It never was steady."),) if energy_j > 200 else ()
    summary = summarize(windows, (GPU,), "no meter", 0.02)
    return RunRecord.model_validate(content | {"status": "complete", "summary": summary, "caveats": caveats})


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """One trace, half of it at 50 W and half at 400 W; the other runs have none."""
    folder = tmp_path_factory.mktemp("ranking") / "results"
    trace = trace_of((list(range(16)), [50.0] * 8 + [400.0] * 8))
    for model, energy_j in (MODELS | {"broken": None}).items():
        record = record_of(model, energy_j)
        write_run(folder / "tests" / record.run_id, record, trace if model == "frugal" else None)
    return folder


def printed(results: Path, width: int, best: int | None = None, worst: int = 0) -> list[str]:
    one_kwh, stored = per_kwh(editions(None, None, None)), stored_runs([results])
    ranked = ranking(stored, one_kwh, (), best, worst)
    shapes = power_shapes({run.folder: run.boards for run in ranked}, STRETCHES, [])
    out = Console(file=io.StringIO(), width=width, highlight=False)
    print_ranking(ranked, left_out(stored, one_kwh), one_kwh, stored_ratings(stored), shapes, out)
    return out.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_every_width_ranks_the_same_runs_with_energy_and_caveats(results):
    for width in (200, 80, 60):
        lines = printed(results, width)
        assert lines[1] == "text-generation: kWh per 1,000 generations, gross, 95 % interval, simulated"
        assert max(map(len, lines[2:7])) <= width
        ranks = [line.split() for line in lines[4:7]]
        assert [line[1] for line in ranks] == list(MODELS)
        assert [line[2:5] for line in ranks] == [
            ["0.01000", "±", "0.00020"],
            ["0.03500", "±", "0.00069"],
            ["0.0600", "±", "0.0012"],
        ]
        assert ["★" * stars + "☆" * (5 - stars) in line for stars, line in zip((5, 3, 1), ranks, strict=True)] == [
            True
        ] * 3
        assert ["a" in line for line in ranks] == [False, False, True]
        text = " ".join(" ".join(lines).split())
        assert "a not-steady, 1 run: It never was steady." in text
        assert "simulated: power comes from a simulated GPU; it is no model's energy" in text
        assert f"left out {record_of('broken', None).run_id}: failed: It took too long." in text
        assert ("No room at this width for: boundary, car km, phone charges, g CO2e" in text) == (width < 200)


def test_wide_terminal_draws_bars_and_the_power_of_runs_that_have_a_trace(results):
    lines = printed(results, 200)
    assert [line.count("█") + line.count("▒") for line in lines[5:7]] == [9, 16]  # 0.035 and 0.0612 of 0.0612
    assert f" {'▂' * 8}{'█' * 8} 400 W " in lines[4]  # 50 W is the level of 1/8 of the peak
    assert "no trace" in lines[5]
    assert "power: 2 of 3 runs have no trace (trace.parquet), so no curve." in lines
    ends = printed(results, 200, best=1, worst=1)
    assert [ends[number].split()[:2] for number in (4, 5, 6)] == [["1", "frugal"], ["…", "1"], ["3", "greedy[/]"]]
    assert "1 more: --all" in ends[5]


def test_broken_trace_is_told_and_hides_no_other(results, tmp_path):
    record = record_of("other", 50.0)
    write_run(tmp_path, record, None)
    (tmp_path / TRACE).write_bytes(b"PAR1")
    frugal = results / "tests" / record_of("frugal", 36.0).run_id
    shapes = power_shapes({tmp_path: (0,), frugal: (0,)}, 2, broken := [])
    assert {folder: shape.power_w for folder, shape in shapes.items()} == {frugal: (50.0, 400.0)}
    assert [str(tmp_path / TRACE) in error.message for error in broken] == [True]


def test_json_has_the_same_rows_and_the_table_stays(results, tmp_path):
    document = harness("show", "--results", results, "--json", cwd=tmp_path).document
    rows = document["ranking"]
    assert [(row["model"], row["place"], row["placed"]) for row in rows] == [
        (model, place, 3) for place, model in enumerate(MODELS, 1)
    ]
    assert [row["energies"]["gpu"]["kwh"] for row in rows] == pytest.approx([0.01, 0.035, 0.06])
    assert [row["stars"]["equal bands"]["stars"] for row in rows] == [5, 3, 1]
    assert rows[2]["caveats"][0]["message"] == "It never was steady."
    assert rows[0]["carbon_g_co2e"] == pytest.approx(4.73)
    assert [row["left_out"] for row in document["left_out"]] == ["failed: It took too long."]
    assert [factor["kind"] for factor in document["factors"]] == ["grid", "phone", "car"]
    other = harness("show", "--results", results, "--json", "--grid", "100", cwd=tmp_path).document
    assert other["ranking"][0]["carbon_g_co2e"] == pytest.approx(1.0)
    table = harness("show", "--results", results, "--table", cwd=tmp_path).out
    assert "Energy per 1,000 generations, gross, with 95 % interval" in table
    one = harness("show", record_of("frugal", 36.0).run_id, "--results", results, cwd=tmp_path).out
    assert one.index("power, simulated: ▂  ▂  ▂") < one.index("█ from 0 to 400 W, from start to end")


def test_no_results_say_how_to_start(tmp_path):
    told = "No results under results yet. Start with: harness run configs/quickstart.yaml\n"
    assert [harness("show", *option, cwd=tmp_path).out for option in ((), ("--table",))] == [told, told]
