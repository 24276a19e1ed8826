"""Imported runs on disk: once, all of a file or none."""

from __future__ import annotations

import pytest
from codecarbon_files import RUN_COLUMNS, row, write

from harness.errors import StoreError
from harness.importers.codecarbon import read_codecarbon, records
from harness.records import SCHEMA_VERSION
from harness.store.files import campaign_lock, find_runs
from harness.store.imports import find_imports, keep_imports
from harness.store.validate import check_campaign


def two_runs(folder, **cells):
    path = write(folder / "a.csv", RUN_COLUMNS, row(**cells), row(run_id="run-2", **cells))
    return list(records(read_codecarbon([path]), "c"))


def test_runs_come_back_as_they_were_and_are_no_measured_runs(tmp_path):
    made = two_runs(tmp_path)
    assert keep_imports(tmp_path / "results", "c", made).written == 2
    assert find_imports([tmp_path / "results"]) == made
    assert find_runs([tmp_path / "results"]) == []


def test_a_name_with_a_line_separator_comes_back(tmp_path):
    made = two_runs(tmp_path, project_name="a\u2028b\x85c")
    assert keep_imports(tmp_path / "results", "c", made).written == 2
    assert find_imports([tmp_path / "results"]) == made
    assert made[0].project_name == "a\u2028b\x85c"


def test_the_same_again_changes_nothing(tmp_path):
    keep_imports(tmp_path / "results", "c", two_runs(tmp_path))
    again = keep_imports(tmp_path / "results", "c", two_runs(tmp_path))
    assert (again.written, again.already, again.conflicting) == (0, 2, [])


def test_a_copy_under_another_name_is_already_there(tmp_path):
    keep_imports(tmp_path / "results", "c", two_runs(tmp_path))
    renamed = [record.model_copy(update={"source_file": "copy.csv"}) for record in two_runs(tmp_path)]
    again = keep_imports(tmp_path / "results", "c", renamed)
    assert (again.written, again.already, again.conflicting) == (0, 2, [])


def test_other_content_under_a_stored_run_leaves_its_whole_file_out(tmp_path):
    results = tmp_path / "results"
    keep_imports(results, "c", two_runs(tmp_path)[:1])
    kept = keep_imports(results, "c", two_runs(tmp_path, project_name="other")[::-1])
    assert (kept.written, kept.conflicting) == (0, ["a.csv"])
    assert [record.run_id for record in find_imports([results])] == ["run-1"]


def test_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(StoreError, match="Cannot write"):
        keep_imports(tmp_path / "results", "c", two_runs(tmp_path))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not a whole JSON document"),
        ("{}", "not a valid record"),
        (f'{{"schema_version": {SCHEMA_VERSION + 1}}}', "schema version"),
    ],
)
def test_a_broken_record_is_named(tmp_path, text, says):
    keep_imports(tmp_path, "c", two_runs(tmp_path))
    (stored,) = (tmp_path / "c").glob("imported-*.jsonl")
    good, _ = stored.read_text().splitlines()
    stored.write_text(f"{good}\n{text}\n")
    with pytest.raises(StoreError, match=rf"line 2, .*{says}"):
        find_imports([tmp_path])
    unreadable: list[StoreError] = []
    assert [record.run_id for record in find_imports([stored], unreadable)] == ["run-1"]
    assert len(unreadable) == 1


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "imported-1.jsonl").write_bytes(b"\xff")
    with pytest.raises(StoreError, match="Cannot read"):
        find_imports([tmp_path])
    unreadable: list[StoreError] = []
    assert find_imports([tmp_path], unreadable) == []
    assert len(unreadable) == 1


def test_a_second_import_adds_to_the_first(tmp_path):
    both = two_runs(tmp_path)
    assert keep_imports(tmp_path / "r", "c", both[:1]).written == 1
    again = keep_imports(tmp_path / "r", "c", both)
    assert (again.written, again.already) == (1, 1)
    assert sorted(record.run_id for record in find_imports([tmp_path / "r"])) == ["run-1", "run-2"]
    left = sorted(path.name.split("-")[0] for path in (tmp_path / "r" / "c").iterdir())
    assert left == [".lock", "imported", "imported"]  # one file per import, and no scratch


def test_a_campaign_that_another_process_holds_is_left_alone(tmp_path):
    folder = tmp_path / "r" / "c"
    folder.mkdir(parents=True)
    with campaign_lock(folder), pytest.raises(StoreError, match="Another harness"):
        keep_imports(tmp_path / "r", "c", two_runs(tmp_path))
    assert find_imports([folder]) == []


def test_a_measured_run_of_the_same_id_is_a_conflict(tmp_path):
    (tmp_path / "r" / "c" / "run-2").mkdir(parents=True)
    kept = keep_imports(tmp_path / "r", "c", two_runs(tmp_path))
    assert (kept.written, kept.conflicting) == (0, ["a.csv"])
    assert find_imports([tmp_path / "r"]) == []


def test_a_file_that_is_not_as_it_was_imported_is_named(tmp_path):
    results = tmp_path / "results"
    keep_imports(results, "c", two_runs(tmp_path))
    assert check_campaign(results / "c").findings == ()
    (path,) = (results / "c").glob("imported-*.jsonl")
    content = path.read_text(encoding="utf-8")
    first = find_imports([path])[0]
    total_j = first.phases[0].node_energy_j
    assert f'"node_energy_j":{total_j!r}' in content
    path.write_text(content.replace(f'"node_energy_j":{total_j!r}', f'"node_energy_j":{total_j / 10!r}', 1))
    by_name, by_parts = check_campaign(results / "c").findings
    assert (by_name.severity, by_name.code, by_name.place) == ("problem", "changed", str(path))
    assert by_name.message.startswith("The content is not the one that was imported")
    assert by_parts.message.startswith(f"{first.run_id}, line 2 of its source: the parts do not make the total of ")


def test_a_total_that_its_tool_did_not_make_of_its_parts_is_the_tools(tmp_path):
    keep_imports(tmp_path / "results", "c", two_runs(tmp_path, energy_consumed=1.0))
    assert "parts-differ" in {caveat.code for caveat in find_imports([tmp_path / "results"])[0].caveats}
    assert check_campaign(tmp_path / "results" / "c").findings == ()
