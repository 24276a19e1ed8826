"""What results/ shows a visitor is what this code makes: `scripts/make_examples` brings it up to date."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from harness.store.files import RECORD, find_runs

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def made():
    sys.path.insert(0, str(ROOT / "scripts"))
    import _make_examples

    yield _make_examples
    sys.path.remove(str(ROOT / "scripts"))


def test_committed_pages_are_those_of_the_committed_records(made, tmp_path):
    made.make_pages(ROOT, tmp_path)
    stale = list(made.keep_pages(tmp_path, write=False))
    assert stale == [], "run: scripts/make_examples --pages, and commit what it writes"
    assert len(list((tmp_path / "results").glob("*/report.*"))) == 3


def test_committed_records_are_whole_marked_and_small():
    runs = find_runs([ROOT / "results" / "example-replay"])
    assert len(runs) == 8
    assert {(run.record.status, run.record.mark) for run in runs} == {("complete", "replay, simulated")}
    files = [path for path in (ROOT / "results" / "example-replay").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 1_000_000
    assert all(run.record.run_id == run.record.spec.run_id == run.folder.name for run in runs)


def test_a_run_is_the_same_whenever_and_wherever_it_ran(made, tmp_path):
    run = min((ROOT / "results" / "example-replay").glob("*/"))
    other = shutil.copytree(run, tmp_path / "run")
    content = json.loads((other / RECORD).read_text())
    (other / RECORD).write_text(json.dumps(content | {"started_at_utc": "2030-01-01T00:00:00+00:00"}))
    assert made.same(run, other)
    content["summary"]["gpu_energy_j"]["value"] += 1e-9
    (other / RECORD).write_text(json.dumps(content))
    assert not made.same(run, other)
