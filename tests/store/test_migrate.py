"""Results of schema version 1 on disk brought to version 2: what is written, kept, refused, and told."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from harness.errors import OtherSchemaVersion, StoreError
from harness.records import SCHEMA_VERSION
from harness.run.config import Plan
from harness.run.runner import pending
from harness.specs import RunSpec
from harness.store.documents import told_together
from harness.store.files import RECORD, SUPERSEDED, TRACE, campaign_lock, find_runs, read_record
from harness.store.imports import find_imports
from harness.store.manifest import MANIFEST, append, kept, read_manifest
from harness.store.migrate import Migration, migrate
from harness.store.validate import check_campaign

OLD = Path(__file__).parent / "version_1"
RUN = "pretend-b4-78755189c62e"
BACKUP = "record.v1.json"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """All old results; `third-day` and `served` have a manifest too."""
    shutil.copytree(OLD, tmp_path / "results", ignore=shutil.ignore_patterns("*.md"))
    for campaign in ("third-day", "served"):
        (run,) = (tmp_path / "results" / campaign).glob("*/")
        append(tmp_path / "results" / campaign, kept(run, run.name, "complete"))
    return tmp_path / "results"


def counts(found: list[Migration]) -> dict[str, tuple[int, int, int]]:
    return {each.folder.name: (each.migrated, each.already, len(each.refused)) for each in found}


def contents(folder: Path) -> dict[str, bytes]:
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: content for name, content in files.items() if not name.endswith(".lock")}


def problems(campaign: Path) -> list[str]:
    return [finding.code for finding in check_campaign(campaign).findings if finding.severity == "problem"]


def test_a_folder_of_results_is_brought_to_this_version_and_is_sound(results: Path) -> None:
    before, told = contents(results), []
    found = migrate(results, True, lambda done, total: told.append((done, total)))
    assert counts(found) == {"early": (1, 0, 0), "late": (2, 0, 0), "served": (1, 0, 0), "third-day": (1, 0, 0)}
    assert told == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    assert len(find_runs([results])) == 4
    assert [record.run_id for record in find_imports([results])] == ["run-1", "run-2"]
    for campaign in results.iterdir():
        assert problems(campaign) == [], campaign
    after = contents(results)
    for name, content in before.items():  # nothing is lost: old records lie beside the new ones
        path = Path(name)
        beside = {RECORD: str(path.with_name(BACKUP)), TRACE: name, MANIFEST: None}.get(path.name, f"{name}.v1")
        assert beside is None or after[beside] == content
    assert read_record(results / "late" / RUN / RECORD).schema_version == 2


def test_a_second_run_finds_nothing_to_do_and_writes_nothing(results: Path) -> None:
    migrate(results, True)
    before = contents(results)
    assert counts(migrate(results, True)) == {
        name: (0, n, 0) for name, n in zip(("early", "late", "served", "third-day"), (1, 2, 1, 1), strict=True)
    }
    assert contents(results) == before


def test_a_dry_run_checks_the_same_and_writes_nothing(results: Path) -> None:
    (results / "late" / RUN / RECORD).write_text("{")
    before = contents(results)
    dry = migrate(results, False)
    assert contents(results) == before
    assert not (results / "late" / ".lock").exists()
    assert (
        counts(dry)
        == counts(migrate(results, True))
        == {"early": (1, 0, 0), "late": (1, 0, 1), "served": (1, 0, 0), "third-day": (1, 0, 0)}
    )


def test_the_manifest_knows_the_new_record_its_copy_and_the_trace_as_it_was_kept(results: Path) -> None:
    folder = results / "late"
    first = read_manifest(folder)
    assert first is not None
    migrate(folder, True)
    manifest = read_manifest(folder)
    assert manifest is not None
    assert (manifest.damaged, manifest.unknown) == ({}, ())
    entry = manifest.kept[RUN]
    assert entry.migrated_from == 1
    assert entry.files == {
        RECORD: hashlib.sha256((folder / RUN / RECORD).read_bytes()).hexdigest(),
        BACKUP: first.kept[RUN].files[RECORD],
        TRACE: first.kept[RUN].files[TRACE],
    }


def test_resume_skips_a_run_that_was_migrated(results: Path) -> None:
    for campaign in ("third-day", "late"):
        (path,) = (results / campaign).glob(f"*/{RECORD}")
        plan = Plan(campaign, (RunSpec.model_validate(json.loads(path.read_text())["spec"]),))
        with pytest.raises(OtherSchemaVersion) as error:
            pending(plan, results)
        assert error.value.message == f"{path} has schema version 1: this harness reads version 2."
        assert error.value.hint.endswith(f"harness migrate {results / campaign}")
        migrate(results / campaign, True)
        assert pending(plan, results) == []


# --- what is refused, and left as it is ---


def test_a_record_that_is_not_the_one_that_was_kept_is_refused_and_still_named(results: Path) -> None:
    path = results / "late" / RUN / RECORD
    text = path.read_text()
    for spoiled in (text.replace('"batch_size": 4', '"batch_size": 5'), text + " ", text[:-9]):
        assert spoiled != text
        path.write_text(spoiled)
        before = contents(results / "late")
        (found,) = migrate(results / "late" / RUN, True)
        assert contents(results / "late") == before
        (error,) = found.refused
        assert error.message.startswith(f"{path} is not the one that was kept at 2026-11-29T")
        assert "changed" in problems(results / "late")


def test_a_trace_that_was_changed_is_still_named_after_the_migration(results: Path) -> None:
    with (results / "late" / RUN / TRACE).open("ab") as file:
        file.write(b"x")
    assert migrate(results / "late", True)[0].migrated == 2
    found = [each for each in check_campaign(results / "late").findings if each.code == "changed"]
    assert [Path(each.place).name for each in found] == [TRACE]


def test_half_a_record_without_a_manifest_is_refused(results: Path) -> None:
    (path,) = (results / "early").glob(f"*/{RECORD}")
    path.write_bytes(path.read_bytes()[:-100])
    (found,) = migrate(results / "early", True)
    assert (found.migrated, len(found.refused)) == (0, 1)
    assert f"{path} is not a whole JSON document" in found.refused[0].message


def test_a_copy_of_another_content_is_not_overwritten(results: Path) -> None:
    backup = results / "late" / RUN / BACKUP
    backup.write_text("mine")
    (found,) = migrate(results / "late" / RUN, True)
    assert found.refused[0].message == f"{backup} is there already, and is not a copy of {RECORD}."
    assert backup.read_text() == "mine"
    assert json.loads((results / "late" / RUN / RECORD).read_text())["schema_version"] == 1


@pytest.mark.parametrize(
    ("version", "says"),
    [
        (3, "has schema version 3: a newer harness wrote it, and this one reads version 2."),
        (0, "has schema version 0: no harness wrote such a one, and this one reads version 2."),
        ("one", "states no schema version."),
    ],
)
def test_a_version_that_is_not_known_is_refused(results: Path, version: object, says: str) -> None:
    (path,) = (results / "early").glob(f"*/{RECORD}")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": version}))
    (found,) = migrate(results / "early", True)
    assert [error.message for error in found.refused] == [f"{path} {says}"]


def test_an_import_that_was_changed_is_refused_whole(results: Path) -> None:
    (path,) = (results / "late").glob("imported-*.jsonl")
    path.write_text(path.read_text().replace("52000.0", "5200.0", 1))
    before = path.read_bytes()
    (error,) = migrate(results / "late", True)[0].refused
    assert path.read_bytes() == before
    assert error.message == f"{path} is not the file that was written: its name is not the hash of its content."
    renamed = path.rename(path.with_name("imported-mine.jsonl"))  # a name of the user's own says nothing
    assert migrate(results / "late", False)[0].refused == []
    renamed.write_text(renamed.read_text() + "{}\n")
    (error,) = migrate(results / "late", False)[0].refused
    assert error.message == f"{renamed}, line 3, states no schema version."


def test_earlier_attempts_are_migrated_too_and_one_run_alone_can_be(results: Path) -> None:
    shutil.copytree(results / "late" / RUN, results / "late" / SUPERSEDED / f"{RUN}-1")
    with pytest.raises(OtherSchemaVersion) as error:
        read_record(results / "late" / SUPERSEDED / f"{RUN}-1" / RECORD)
    assert error.value.hint.endswith(f"harness migrate {results / 'late'}")
    assert counts(migrate(results / "late" / RUN, True)) == {"late": (1, 0, 0)}
    assert counts(migrate(results / "late", True)) == {"late": (2, 1, 0)}
    assert read_record(results / "late" / SUPERSEDED / f"{RUN}-1" / RECORD).run_id == RUN


def test_a_campaign_that_another_process_holds_is_left_alone_unless_there_is_nothing_to_do(results: Path) -> None:
    with campaign_lock(results / "late"):
        before = contents(results / "late")
        with pytest.raises(StoreError, match="Another harness"):
            migrate(results / "late", True)
        assert contents(results / "late") == before
    migrate(results / "late", True)
    with campaign_lock(results / "late"):
        assert counts(migrate(results / "late", True)) == {"late": (0, 2, 0)}


def test_a_folder_without_results_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="There is no folder"):
        migrate(tmp_path / "none", True)
    with pytest.raises(StoreError, match="Nothing is stored under"):
        migrate(tmp_path, True)


# --- what readers say ---


def test_readers_count_records_of_another_version_instead_of_naming_each(results: Path) -> None:
    shutil.copytree(results / "late" / RUN, results / "late" / "copy")
    content = json.loads((results / "early" / "pretend-b4-ae05deba7351" / RECORD).read_text())
    (results / "early" / "pretend-b4-ae05deba7351" / RECORD).write_text(json.dumps(content | {"schema_version": 9}))
    unreadable: list[StoreError] = []
    assert find_runs([results], unreadable) == []
    assert find_imports([results], unreadable) == []
    newer, older = told_together(unreadable)
    assert newer.message.endswith("has schema version 9: a newer harness wrote it, and this one reads version 2.")
    assert newer.hint == "Update with: pip install --upgrade energy-harness"
    assert older.message == f"6 records in {results} have schema version 1: this harness reads version 2."
    assert older.hint == f"Bring them to version 2, the old files kept: harness migrate {results}"
    one_campaign = [
        each for each in unreadable if isinstance(each, OtherSchemaVersion) and each.campaign_folder == results / "late"
    ]
    (told,) = told_together(one_campaign)
    assert told.message == f"4 records in {results / 'late'} have schema version 1: this harness reads version 2."


def test_validate_tells_another_version_once_for_a_campaign(results: Path) -> None:
    shutil.copytree(results / "early" / "pretend-b4-ae05deba7351", results / "early" / "copy")
    (finding,) = [each for each in check_campaign(results / "early").findings if each.severity == "problem"]
    assert finding.code == "schema-version"
    assert finding.message.startswith(f"2 records in {results / 'early'} have schema version 1")
    assert finding.message.endswith(f"harness migrate {results / 'early'}")


def test_validate_names_what_a_newer_harness_wrote_into_a_manifest(results: Path) -> None:
    folder = results / "late"
    migrate(folder, True)
    entry = read_manifest(folder).kept[RUN]
    append(folder, entry.model_copy(update={"entry": "something-new"}))
    (finding,) = check_campaign(folder).findings
    assert (finding.code, finding.message) == (
        "manifest-newer",
        "Line 4 says what this harness does not know: a newer one wrote it.",
    )


def test_a_field_that_this_version_has_not_is_said_to_be_newer_or_by_hand(results: Path) -> None:
    migrate(results / "late", True)
    path = results / "late" / RUN / RECORD
    path.write_text(json.dumps(json.loads(path.read_text()) | {"soul": 1}))
    with pytest.raises(
        StoreError, match=f"soul: version {SCHEMA_VERSION} has no such field: it was changed by hand, or a newer"
    ):
        read_record(path)
