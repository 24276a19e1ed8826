"""`harness migrate`, and what every other command says of results that need it, as a user sees them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command import config, harness

from harness.store.files import RECORD

OLD = Path(__file__).parents[1] / "store" / "version_1"
RUN = "pretend-b4-78755189c62e"
# What `late` was run with.
CONFIG = """\
campaign: late
runs:
  - task: text-generation
    model: pretend
    engine: simulated
    device: cpu
    text: {new_tokens: 10}
    batch_size: 4
    sources: {kind: simulated, gpus: [0], node: {gpu: A100-SXM4-80GB, gpu_count: 1, clock: virtual}}
    measure: {window_s: 1, null_window_s: 0.5, idle_s: 0.5, settle_s: 0.1, warm_up_block_s: 0.5, warm_up_max_s: 1,
              min_repeats: 2, max_repeats: 2, sample_period_s: 0.1}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with old results in it."""
    for campaign in ("early", "late", "served"):
        shutil.copytree(OLD / campaign, tmp_path / "results" / campaign)
    return tmp_path


def test_every_command_refuses_an_old_campaign_by_number_and_says_what_to_do(home: Path) -> None:
    record = next((home / "results" / "served").glob(f"*/{RECORD}")).relative_to(home)
    run = f"results/late/{RUN}/{RECORD}"
    for command, what, folder in (
        ("show", "3 records in results have", "results"),
        ("list", "5 records in results have", "results"),  # imported ones too
        ("report --out page.html", "3 records in results have", "results"),
        ("phases", "3 records in results have", "results"),
        ("study compare results", "5 records in results have", "results"),
        ("show late", "2 records in results/late have", "results/late"),
        ("show served", f"{record} has", "results/served"),
        (f"run {config(home, CONFIG)}", f"{run} has", "results/late"),
    ):
        answer = harness(*command.split(), cwd=home)
        it = "it" if what.endswith("has") else "them"
        assert (answer.code, answer.err.splitlines()) == (
            2,
            [
                f"error: {what} schema version 1: this harness reads version 2.",
                f"  Bring {it} to version 2, the old files kept: harness migrate {folder}",
            ],
        ), command
    answer = harness("compare", "late", "early", cwd=home)
    assert answer.code == 2
    assert f"results/late/{RUN}/record.json has schema version 1: this harness reads version 2." in answer.err
    answer = harness("validate", cwd=home)
    assert answer.code == 1
    assert answer.out.count("schema-version") == 3
    assert "3 records in results/late have schema version 1: this harness reads version 2." in answer.out


def test_old_results_are_checked_migrated_shown_and_skipped(home: Path) -> None:
    dry = harness("migrate", "results", "--dry-run", cwd=home)
    assert (dry.code, dry.err) == (0, "")
    assert dry.out.splitlines() == [
        "results/early: 1 file to migrate to version 2, 0 already of it, 0 refused",
        "results/late: 2 files to migrate to version 2, 0 already of it, 0 refused",
        "results/served: 1 file to migrate to version 2, 0 already of it, 0 refused",
    ]
    assert harness("migrate", "results", cwd=home).out == dry.out.replace("to migrate", "migrated")
    again = harness("migrate", "results/late", cwd=home)
    assert (again.code, again.out) == (0, "results/late: nothing to do, already of version 2: 2\n")
    assert "late: 1 runs, 2 imported, 0 problems" in harness("validate", cwd=home).out
    shown = harness("show", "--json", cwd=home)
    assert (shown.code, len(shown.document["ranking"])) == (0, 3)
    run = harness("run", config(home, CONFIG), "--in-process", cwd=home)
    assert run.code == 0
    assert "0 complete, 0 failed, 1 already done" in run.err + run.out


def test_what_is_refused_is_told_and_ends_with_1(home: Path) -> None:
    path = home / "results" / "late" / RUN / RECORD
    path.write_text(path.read_text().replace('"batch_size": 4', '"batch_size": 5'))
    answer = harness("migrate", "results", "--json", cwd=home)
    assert answer.code == 1
    early, late, served = answer.document["campaigns"]
    assert (answer.document["schema_version"], answer.document["dry_run"]) == (2, False)
    assert early == {"folder": "results/early", "migrated": 1, "already": 0, "refused": []}
    assert (late["migrated"], served["migrated"]) == (1, 1)
    (refused,) = late["refused"]
    assert refused["message"].startswith(f"results/late/{RUN}/record.json is not the one that was kept at ")
    told = harness("migrate", "results", cwd=home)
    assert told.code == 1
    assert "results/late: 0 files migrated to version 2, 1 already of it, 1 refused" in told.out
    assert f"  refused: {refused['message']}" in told.out
    assert json.loads(path.read_text())["schema_version"] == 1


def test_a_folder_with_nothing_in_it_ends_with_2(tmp_path: Path) -> None:
    answer = harness("migrate", "none", cwd=tmp_path)
    assert (answer.code, answer.err.splitlines()[0]) == (2, "error: There is no folder none.")
    answer = harness("migrate", ".", cwd=tmp_path)
    assert (answer.code, "Nothing is stored under" in answer.err) == (2, True)
