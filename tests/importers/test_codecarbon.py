"""CodeCarbon's files: what is taken over, what is refused, and that nothing is taken in halves or silently lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from codecarbon_files import RUN_COLUMNS, STUDY, TASK_COLUMNS, V3_COLUMNS, phases, row, write
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.errors import UserInputError
from harness.imported import ImportedRecord
from harness.importers.codecarbon import Reading, read_codecarbon, records, require_rows
from harness.importers.codecarbon_table import counted


def read(*paths: Path) -> Reading:
    return read_codecarbon(list(paths))


def imported(*paths: Path) -> list[ImportedRecord]:
    return list(records(read(*paths), "tests"))


def codes(reading: Reading) -> set[tuple[str, bool]]:
    return {(problem.code, problem.refused) for problem in reading.problems}


def edited(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


# --- what is taken over ---


def test_task_form_of_version_2_becomes_one_record_with_its_phases(tmp_path):
    (record,) = imported(write(tmp_path / "a.csv", TASK_COLUMNS, *phases("run-1", "gpt2")))
    assert (record.run_id, record.origin, record.tool_version, record.boundary) == (
        "run-1",
        "codecarbon",
        "2.3.1",
        "node",
    )
    load, query = record.phases
    assert (load.name, query.name, load.line, query.line) == ("load model", "query model", 2, 3)
    # 520 W, 42.5 W and 430 W for 100 s
    assert query.gpu_energy_j == pytest.approx(52_000)
    assert query.cpu_energy_j == pytest.approx(4_250)
    assert query.dram_energy_j == pytest.approx(43_000)
    assert query.node_energy_j == pytest.approx(99_250)
    assert query.carbon_g_co2e == pytest.approx(99_250 / 3.6e6 * 138.75)
    assert record.task is None
    assert record.generations is None
    assert not read(tmp_path / "a.csv").problems


def test_every_part_says_whether_it_was_measured_or_modelled(tmp_path):
    (record,) = imported(write(tmp_path / "a.csv", RUN_COLUMNS, row()))
    parts = {part.kind: part for part in record.parts}
    assert {kind: part.provenance for kind, part in parts.items()} == {
        "gpu": "measured",
        "cpu": "modelled",
        "dram": "modelled",
    }
    assert "42.5 W" in parts["cpu"].note
    assert "3 W for every 8 GB" in parts["dram"].note
    assert parts["gpu"].device_count == 8


def test_version_3_has_another_model_of_memory_and_no_gpu_is_not_zero_joules(tmp_path):
    cells = {"codecarbon_version": "3.3.2", "gpu_count": "", "gpu_model": "", "tracking_mode": "process", "pue": 1.5}
    (record,) = imported(write(tmp_path / "a.csv", V3_COLUMNS, row(gpu_w=0.0, **cells)))
    assert record.phases[0].gpu_energy_j is None
    assert {part.kind for part in record.parts} == {"cpu", "dram"}
    assert "CodeCarbon 3" in next(part.note for part in record.parts if part.kind == "dram")
    assert (record.boundary, record.pue) == ("process", 1.5)
    assert [caveat.code for caveat in record.caveats] == ["pue"]


def test_files_of_all_forms_are_read_together_in_folders_and_globs(tmp_path):
    write(tmp_path / "one/a.csv", TASK_COLUMNS, *phases("run-1", "gpt2"))
    write(tmp_path / "one/deep/b.csv", RUN_COLUMNS, row(run_id="run-2"))
    write(tmp_path / "two/c.csv", V3_COLUMNS, row(run_id="run-3", codecarbon_version="3.0.1"))
    reading = read_codecarbon([tmp_path / "one", str(tmp_path / "two" / "*.csv")])
    assert [record.run_id for record in records(reading, "tests")] == ["run-1", "run-2", "run-3"]


def test_crlf_byte_order_mark_and_quoted_comma_are_read(tmp_path):
    path = write(tmp_path / "a.csv", RUN_COLUMNS, row())
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    (record,) = imported(path)
    assert record.parts[1].device_name == "Intel(R) Xeon(R), 3.00GHz"


def test_rows_of_one_run_that_grow_are_cumulative_and_the_last_is_taken(tmp_path):
    path = write(tmp_path / "a.csv", RUN_COLUMNS, row(50.0), row(100.0))
    reading = read(path)
    (record,) = records(reading, "tests")
    assert record.phases[0].node_energy_j == pytest.approx(99_250)
    assert codes(reading) == {("duplicate-run", False)}


# --- what is refused, with file and line ---


@pytest.mark.parametrize(
    ("old", "new", "code", "says"),
    [
        ("machine,N\n", "machine\n", "malformed", "too few fields"),
        ("machine,N\n", "machine,N,7\n", "malformed", "too many fields"),
        ("machine,N\n", "machine,\n", "malformed", "on_cloud is none of N, Y"),
        ("100.0", "hundred", "malformed", "duration is not a number"),
        ("100.0", "", "malformed", "duration is missing"),
        ("100.0", "inf", "malformed", "duration is missing or not a finite number"),
        ("100.0", "-1.0", "malformed", "duration is negative"),
        ("0.01", "-0.01", "negative-energy", "is negative"),
        ("2023-09-08T14:04:58", "08/09/2023 14:04", "malformed", "day and month"),
        ("2023-09-08T14:04:58", "2023-13-08T14:04:58", "malformed", "cannot be read"),
        ('"Intel(R) Xeon(R), 3.00GHz",8', '"Intel(R) Xeon(R), 3.00GHz,8', "malformed", "not closed"),
        ("run-1,", "../run,", "malformed", "run_id is no name"),
    ],
)
def test_a_bad_cell_refuses_its_file_and_names_the_line(tmp_path, old, new, code, says):
    good = write(tmp_path / "good.csv", TASK_COLUMNS, *phases("run-2", "gpt2"))
    bad = write(tmp_path / "bad.csv", TASK_COLUMNS, *phases("run-1", "gpt2")[1:])
    edited(bad, old, new)
    reading = read(bad, good)
    first = next(problem for problem in reading.problems if problem.refused)
    assert (first.code, first.file, first.line) == (code, str(bad), 2)
    assert says in first.message
    assert reading.refused == (str(bad),)
    assert [record.run_id for record in records(reading, "tests")] == ["run-2"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (",".join(TASK_COLUMNS).encode() + b"\n", "empty"),
        (b"time_s,watts\n0,1\n", "not-codecarbon"),
        (",".join([*RUN_COLUMNS, "surprise"]).encode() + b"\n1\n", "other-columns"),
        (",".join(RUN_COLUMNS).replace("gpu_energy", "gpu_joules").encode() + b"\n1\n", "other-columns"),
        (b"\xff\xfe\x00", "unreadable"),
    ],
)
def test_a_file_that_is_something_else_is_named_and_alone_an_error(tmp_path, content, code):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    reading = read(path)
    assert codes(reading) == {(code, True)}
    with pytest.raises(UserInputError, match="no CodeCarbon run that can be used"):
        require_rows(reading)


def test_a_file_cut_anywhere_is_refused_whole_or_told(tmp_path):
    path = write(tmp_path / "a.csv", TASK_COLUMNS, *phases("run-1", "gpt2"))
    whole = path.read_bytes()
    second = whole.index(b"query model") + 1  # cut between two rows, nothing tells
    for cut in range(second, len(whole), 31):
        path.write_bytes(whole[:cut])
        assert read(path).problems


def test_run_in_two_files_refuses_the_later_one(tmp_path):
    first = write(tmp_path / "a.csv", TASK_COLUMNS, *phases("run-1", "gpt2"))
    second = write(tmp_path / "b.csv", RUN_COLUMNS, row(), row(run_id="run-2"))
    reading = read(first, second)
    assert reading.refused == (str(second),)
    assert str(first) in next(problem.message for problem in reading.problems)
    assert len(reading.table.file) == 2


def test_rows_of_one_run_that_shrink_refuse_the_file(tmp_path):
    assert codes(read(write(tmp_path / "a.csv", RUN_COLUMNS, row(100.0), row(50.0)))) == {("duplicate-run", True)}


# --- what is named and taken ---


def test_two_ways_to_write_times_are_told_once_with_counts(tmp_path):
    others = [row(run_id=f"run-{n}") for n in range(2, 5)]
    path = write(tmp_path / "a.csv", RUN_COLUMNS, row(timestamp="2023-09-26 1:44:16"), *others)
    (problem,) = read(path).problems
    assert (problem.code, problem.line, problem.refused) == ("mixed-timestamps", 2, False)
    assert "3 like 2023-09-08T14:04:58, 1 like 2023-09-26 1:44:16" in problem.message
    assert imported(path)[0].phases[0].finished_at_local == "2023-09-26T01:44:16"


def test_emissions_that_do_not_fit_the_region_are_a_caveat_of_their_record(tmp_path):
    path = write(tmp_path / "a.csv", RUN_COLUMNS, row(), row(run_id="run-2", emissions=0.0082))
    first, second = imported(path)
    assert first.caveats == ()
    # 8.2 g over 99.25 kJ = 0.027569 kWh
    assert [caveat.code for caveat in second.caveats] == ["factor-disagrees"]
    assert "297.43 g/kWh; oregon has 138.75" in second.caveats[0].message


def elsewhere(run_id, g_per_kwh):
    """A run in a region whose factor is not known here: 99.25 kJ are 0.0275694 kWh."""
    emissions_kg = g_per_kwh / 1000 * 99_250 / 3.6e6
    return row(run_id=run_id, region="quebec", country_iso_code="CAN", emissions=emissions_kg)


@pytest.mark.parametrize(
    ("factors", "told"),
    [
        ([2.38, 2.38, 140.0], ["emissions are 140.00 g/kWh; most rows of quebec have 2.38"]),
        (
            [2.38, 133.0, 228.0],
            [
                f"emissions are {each} g/kWh; rows of quebec agree on none: 2.38 to 228.00"
                for each in ("2.38", "133.00", "228.00")
            ],
        ),
        ([2.38], []),
    ],
)
def test_rows_of_a_region_that_is_not_known_are_held_against_most_of_them(tmp_path, factors, told):
    rows = [elsewhere(f"run-{number}", each) for number, each in enumerate(factors)]
    problems = read(write(tmp_path / "a.csv", RUN_COLUMNS, *rows)).problems
    assert [problem.message for problem in problems] == told


@pytest.mark.parametrize(
    ("version", "known"), [("2.2.9", False), ("2.3.1", True), ("3.3.2", True), ("4.0.0", False), ("dev", False)]
)
def test_a_version_whose_accounting_is_not_known_is_named_once(tmp_path, version, known):
    rows = [row(run_id=f"run-{number}", codecarbon_version=version) for number in range(2)]
    found = codes(read(write(tmp_path / "a.csv", RUN_COLUMNS, *rows)))
    assert found == (set() if known else {("version-unknown", False)})


def test_a_machine_that_seems_to_move_is_named(tmp_path):
    moved = row(run_id="run-3", region="quebec", country_iso_code="CAN", emissions=0.0001)
    path = write(tmp_path / "a.csv", RUN_COLUMNS, row(), row(run_id="run-2"), moved)
    assert counted(read(path).problems) == {"region-differs": 1}
    assert "oregon" in imported(path)[2].caveats[0].message


def test_a_total_that_is_not_the_sum_of_its_parts_is_named(tmp_path):
    total = row()["energy_consumed"] * 1.1
    path = write(tmp_path / "a.csv", RUN_COLUMNS, row(energy_consumed=total, emissions=total * 0.13875))
    (problem,) = read(path).problems
    assert (problem.code, problem.refused) == ("parts-differ", False)
    # 99.25 kJ are 0.0275694 kWh; a tenth of it is missing in the parts
    assert problem.message == "energy_consumed is 0.0303263889 kWh, but its parts sum to 0.0275694444"


# --- anything at all ---

energies = st.floats(0, 1e6, allow_nan=False)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(energies, energies, energies), min_size=1, max_size=5))
def test_every_finite_energy_comes_through_exactly(tmp_path, values):
    rows = [
        row(run_id=f"run-{n}", gpu_energy=gpu, cpu_energy=cpu, ram_energy=ram, energy_consumed=gpu + cpu + ram)
        for n, (gpu, cpu, ram) in enumerate(values)
    ]
    table = read(write(tmp_path / "a.csv", RUN_COLUMNS, *rows)).table
    found = zip(*(table.number[f"{part}_energy"].tolist() for part in ("gpu", "cpu", "ram")), strict=True)
    assert list(found) == values


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=60), max_size=4))
@example(["\r0"])
@example(['a,"b" c,"d'])
def test_garbage_between_rows_never_passes_and_never_crashes(tmp_path, lines):
    path = write(tmp_path / "a.csv", TASK_COLUMNS, *phases("run-1", "gpt2"))
    with path.open("a", encoding="utf-8", newline="") as file:
        file.writelines(line + "\n" for line in lines)
    reading = read(path)
    meant = [line for line in "\n".join(lines).split("\n") if line.rstrip("\r")]
    assert bool(reading.refused) == bool(meant)
    assert len(reading.table.file) == (0 if meant else 2)


def test_the_study_is_read_whole():
    if not STUDY.is_dir():
        pytest.skip("../shared/data/study is not here")
    reading = read(STUDY / "emissions/base")
    table = reading.table
    assert (len(reading.paths), len(table.file)) == (6513, 13_370)
    assert float(table.number["energy_consumed"].sum()) == pytest.approx(1290.0429, abs=1e-4)
    assert counted(reading.problems) == {"factor-disagrees": 5, "region-differs": 12}
