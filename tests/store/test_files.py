"""Runs on disk: whole or not at all, never overwritten, and a damaged file is told and not guessed at."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import measurement_of, run_spec, source_energy_of, source_info, trace_of
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import StoreError
from harness.power.trace import COLUMNS, PowerTrace, empty_trace
from harness.records import SCHEMA_VERSION, Failure, RunRecord
from harness.store.duck import write_parquet
from harness.store.files import (
    RECORD,
    SUPERSEDED,
    TRACE,
    find_runs,
    keep_run,
    read_record,
    read_trace,
    scratch_folder,
    write_run,
)

RECORD_A = RunRecord(
    run_id="small-b1-0123456789ab",
    campaign="tests",
    origin="simulated",
    spec=run_spec(),
    environment=None,
    started_at_utc="2025-01-01T00:00:00+00:00",
    finished_at_utc="2025-01-01T00:01:00+00:00",
    status="failed",
    sources=(source_info(), source_info(id="GPU-1")),
    measurements=(measurement_of(source_energy_of(energy_j=1 / 3)),),
    failure=Failure(kind="timeout", message="It took too long — 7,200 s.", phase="measure"),
)
TEXT = RECORD_A.model_dump_json(indent=1)


def stored(folder: Path, text: str | bytes) -> Path:
    path = folder / RECORD
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def changed(**changes: Any) -> str:
    return json.dumps(json.loads(TEXT) | changes)


# --- writing ---


def test_record_comes_back_as_it_was(tmp_path):
    write_run(tmp_path / "run", RECORD_A, None)
    assert read_record(tmp_path / "run" / RECORD) == RECORD_A
    assert [path.name for path in (tmp_path / "run").iterdir()] == [RECORD]


def test_stored_json_is_readable_without_the_harness(tmp_path):
    write_run(tmp_path, RECORD_A, None)
    content = json.loads((tmp_path / RECORD).read_text(encoding="utf-8"))
    assert content["schema_version"] == SCHEMA_VERSION
    assert content["measurements"][0]["sources"][0]["energy_j"] == 1 / 3


def test_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="Cannot write results under"):
        write_run(tmp_path / "file" / "run", RECORD_A, None)


def test_failed_writing_leaves_no_half_a_run(tmp_path):
    folder = tmp_path / "run"
    (folder / RECORD).mkdir(parents=True)  # the record cannot be written over a folder
    with pytest.raises(StoreError):
        write_run(folder, RECORD_A, trace_of(([0.0, 1.0], [1.0, 2.0])))
    assert not (folder / TRACE).exists()


# --- keeping ---


def scratch_with(campaign: Path, text: str) -> Path:
    folder = campaign / ".scratch-any"
    folder.mkdir(parents=True)
    (folder / RECORD).write_text(text)
    return folder


def test_finished_run_moves_into_place(tmp_path):
    target = keep_run(scratch_with(tmp_path, "first"), tmp_path, "run")
    assert target == tmp_path / "run"
    assert (target / RECORD).read_text() == "first"
    assert not (tmp_path / ".scratch-any").exists()


def test_earlier_attempts_are_set_aside_and_numbered(tmp_path):
    for text in ("first", "second", "third"):
        keep_run(scratch_with(tmp_path, text), tmp_path, "run")
    assert (tmp_path / "run" / RECORD).read_text() == "third"
    assert (tmp_path / SUPERSEDED / "run-1" / RECORD).read_text() == "first"
    assert (tmp_path / SUPERSEDED / "run-2" / RECORD).read_text() == "second"


def test_superseded_attempts_are_not_found_again(tmp_path):
    for _ in range(2):
        keep_run(scratch_with(tmp_path, TEXT), tmp_path, RECORD_A.run_id)
    assert [run.folder for run in find_runs([tmp_path])] == [tmp_path / RECORD_A.run_id]


def test_missing_scratch_is_an_error_and_keeps_the_earlier_run_somewhere(tmp_path):
    keep_run(scratch_with(tmp_path, "first"), tmp_path, "run")
    with pytest.raises(StoreError):
        keep_run(tmp_path / ".scratch-gone", tmp_path, "run")
    kept = [path.read_text() for path in tmp_path.rglob(RECORD)]
    assert kept == ["first"]


def test_scratch_is_on_the_same_disk_and_removed_at_the_end(tmp_path):
    with scratch_folder(tmp_path / "campaign", "run") as folder:
        assert folder.parent == tmp_path / "campaign"
        assert folder.name.startswith(".")
        (folder / "left-over").write_text("x")
    assert not folder.exists()


def test_scratch_is_removed_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), scratch_folder(tmp_path, "run") as folder:
        raise RuntimeError
    assert not folder.exists()


def test_scratch_that_moved_into_place_stays_there(tmp_path):
    with scratch_folder(tmp_path, "run") as folder:
        write_run(folder, RECORD_A, None)
        keep_run(folder, tmp_path, "run")
    assert read_record(tmp_path / "run" / RECORD) == RECORD_A


# --- reading what should not be there ---


def test_newer_schema_is_refused_with_what_to_do(tmp_path):
    path = stored(tmp_path, changed(schema_version=SCHEMA_VERSION + 1))
    with pytest.raises(StoreError) as error:
        read_record(path)
    newer = SCHEMA_VERSION + 1
    told = f"a newer harness wrote it, and this one reads version {SCHEMA_VERSION}"
    assert error.value.message == f"{path} has schema version {newer}: {told}."
    assert error.value.hint == "Update with: pip install --upgrade energy-harness"


def test_older_schema_is_refused_with_what_to_do(tmp_path):
    path = stored(tmp_path / "it's" / "c" / "run", changed(schema_version=1))
    with pytest.raises(StoreError) as error:
        read_record(path)
    assert error.value.message == f"{path} has schema version 1: this harness reads version {SCHEMA_VERSION}."
    assert error.value.hint.endswith(f"""harness migrate '{tmp_path}/it'"'"'s/c'""")  # can be pasted into a shell


def test_a_schema_version_that_never_was_is_refused(tmp_path):
    with pytest.raises(StoreError, match="has schema version 0: no harness wrote such a one"):
        read_record(stored(tmp_path, changed(schema_version=0)))


def test_newer_schema_with_unknown_fields_is_called_newer_and_not_invalid(tmp_path):
    with pytest.raises(StoreError, match="schema version 99"):
        read_record(stored(tmp_path, changed(schema_version=99, soul="yes")))


@settings(max_examples=60)
@given(st.integers(min_value=0, max_value=len(TEXT.encode()) - 1))
def test_truncated_record_is_a_store_error_wherever_it_ends(tmp_path_factory, length):
    path = stored(tmp_path_factory.mktemp("cut"), TEXT.encode()[:length])
    with pytest.raises(StoreError) as error:
        read_record(path)
    assert str(path) in error.value.message
    assert error.value.hint


@settings(max_examples=60)
@given(st.integers(min_value=0, max_value=len(TEXT.encode()) - 1), st.integers(min_value=0, max_value=255))
def test_flipped_byte_gives_a_record_or_a_store_error(tmp_path_factory, place, byte):
    damaged = bytearray(TEXT.encode())
    damaged[place] = byte
    path = stored(tmp_path_factory.mktemp("flip"), bytes(damaged))
    try:
        record = read_record(path)
    except StoreError:
        return
    assert isinstance(record, RunRecord)


@settings(max_examples=60)
@given(st.binary(max_size=60) | st.text(alphabet='[]{}",:0123456789.eE-truefalsn ', max_size=60).map(str.encode))
def test_arbitrary_bytes_are_a_store_error(tmp_path_factory, content):
    with pytest.raises(StoreError):
        read_record(stored(tmp_path_factory.mktemp("any"), content))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 200_000, id="nested too deep"),
        pytest.param("1" * 5000, id="a number of 5,000 digits"),
        pytest.param('"\\ud800"', id="half a character"),
        pytest.param("NaN", id="not a number"),
        pytest.param("null", id="nothing"),
        pytest.param("[]", id="a list"),
    ],
)
def test_odd_json_is_a_store_error(tmp_path, text):
    with pytest.raises(StoreError):
        read_record(stored(tmp_path, text))


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"run_id": None}, "run_id"),
        ({"soul": 1}, "soul"),
        ({"schema_version": "one"}, "schema_version"),
        ({"status": "complete"}, "a complete record needs a summary"),
        ({"measurements": [{"label": "x"}]}, r"measurements\.0\.start_s"),
    ],
)
def test_invalid_record_says_where(tmp_path, changes, where):
    with pytest.raises(StoreError, match=where):
        read_record(stored(tmp_path, changed(**changes)))


def test_nan_in_a_record_is_refused(tmp_path):
    with pytest.raises(StoreError, match="finite"):
        read_record(stored(tmp_path, TEXT.replace("0.3333333333333333", "NaN")))


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_record_that_cannot_be_read_is_a_store_error(tmp_path, kind):
    if kind == "folder":
        (tmp_path / RECORD).mkdir()
    with pytest.raises(StoreError, match="Cannot read"):
        read_record(tmp_path / RECORD)


# --- finding ---


def three_runs(results: Path) -> list[Path]:
    folders = [results / "b" / "run-1", results / "a" / "run-2", results / "a" / "run-1"]
    for folder in folders:
        write_run(folder, RECORD_A, None)
    write_run(results / "a" / ".scratch-run-3", RECORD_A, None)
    return folders


def test_runs_are_found_in_a_stable_order(tmp_path):
    three_runs(tmp_path)
    found = [str(run.folder.relative_to(tmp_path)) for run in find_runs([tmp_path])]
    assert found == ["a/run-1", "a/run-2", "b/run-1"]


def test_campaign_run_and_record_may_be_named(tmp_path):
    three_runs(tmp_path)
    assert len(find_runs([tmp_path / "a"])) == 2
    assert len(find_runs([tmp_path / "a" / "run-1"])) == 1
    assert len(find_runs([tmp_path / "a" / "run-1" / RECORD])) == 1
    assert len(find_runs([tmp_path, tmp_path / "a", tmp_path / "a" / "run-1"])) == 3


def test_results_below_a_hidden_folder_are_found_all_the_same(tmp_path):
    three_runs(tmp_path / ".cache")
    assert len(find_runs([tmp_path / ".cache"])) == 3


def test_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(StoreError, match="There is no results folder"):
        find_runs([tmp_path / "none"])


def test_empty_folder_holds_no_runs(tmp_path):
    assert find_runs([tmp_path]) == []


# --- the trace ---

values = st.floats(allow_nan=True, allow_infinity=False, width=64)
whole_values = st.just(math.nan) | st.integers(min_value=0, max_value=2**40).map(float)


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.lists(values, min_size=6, max_size=6), whole_values), min_size=1, max_size=8
    )
)
def test_trace_survives_parquet_to_the_last_bit(tmp_path_factory, samples):
    folder = tmp_path_factory.mktemp("trace")
    rows = np.array(
        [
            [number * 0.02, index, *others[:5], throttle, others[5]]
            for number, (index, others, throttle) in enumerate(samples)
        ]
    )
    assert rows.shape[1] == len(COLUMNS)
    write_run(folder, RECORD_A, PowerTrace(("GPU-0", "GPU-1"), 0.02, rows, 3))
    again = read_trace(folder, RECORD_A)
    assert again is not None
    np.testing.assert_array_equal(again.rows, rows)
    assert again.source_ids == ("GPU-0", "GPU-1")
    assert again.period_s == 0.02


def test_what_was_not_read_is_null_on_disk(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    write_run(tmp_path, RECORD_A, trace_of(([0.0, 0.02], [100.0, math.nan]), throttle=[math.nan, 8.0]))
    with duckdb.connect(":memory:") as connection:
        query = f"SELECT power_w, throttle, clock_hz FROM read_parquet('{tmp_path / TRACE}')"
        assert connection.execute(query).fetchall() == [(100.0, None, None), (None, 8, None)]


def test_missing_values_stay_missing_in_memory(tmp_path):
    write_run(tmp_path, RECORD_A, trace_of(([0.0, 0.02], [100.0, math.nan])))
    again = read_trace(tmp_path, RECORD_A)
    assert again is not None
    assert again.power("GPU-0")[1].tolist() == [100.0]


def test_run_without_samples_has_no_trace(tmp_path):
    write_run(tmp_path, RECORD_A, empty_trace(("GPU-0",), 0.02))
    assert not (tmp_path / TRACE).exists()
    assert read_trace(tmp_path, RECORD_A) is None


def test_trace_in_a_folder_with_a_quote_in_its_name(tmp_path):
    folder = tmp_path / "it's 100 %"
    write_run(folder, RECORD_A, trace_of(([0.0], [100.0])))
    assert read_trace(folder, RECORD_A) is not None


@settings(max_examples=25)
@given(st.floats(min_value=0.0, max_value=0.999))
def test_truncated_trace_is_a_store_error(tmp_path_factory, share):
    folder = tmp_path_factory.mktemp("cut")
    write_run(folder, RECORD_A, trace_of((np.arange(50.0), np.arange(50.0))))
    os.truncate(folder / TRACE, int(share * (folder / TRACE).stat().st_size))
    with pytest.raises(StoreError, match=r"trace\.parquet"):
        read_trace(folder, RECORD_A)


def test_trace_that_lacks_a_column_is_a_store_error(tmp_path):
    write_parquet(tmp_path / TRACE, {"t_s": np.array([0.0])}, {})
    with pytest.raises(StoreError, match="lacks the column source_index"):
        read_trace(tmp_path, RECORD_A)


def test_trace_with_words_for_watts_is_a_store_error(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    fields = ", ".join(f"'many' AS {name}" for name in COLUMNS)
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"COPY (SELECT {fields}) TO '{tmp_path / TRACE}' (FORMAT parquet)")
    with pytest.raises(StoreError):
        read_trace(tmp_path, RECORD_A)


def test_trace_on_a_full_disk_is_a_store_error(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here to stand in for a full disk")
    (tmp_path / TRACE).symlink_to("/dev/full")
    with pytest.raises(StoreError, match="Cannot write"):
        write_run(tmp_path, RECORD_A, trace_of((np.arange(9.0), np.arange(9.0))))
