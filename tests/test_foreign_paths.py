"""Names and paths that others chose: none leads out of its folder, none is waited for, none takes another's place."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from command import harness
from pydantic import ValidationError
from report_records import record_of

from harness.campaign import Scheduled
from harness.errors import HarnessError, StoreError
from harness.power.trace import read_samples
from harness.run.config import load_plan
from harness.run.journal import unfinished
from harness.run.yaml_lines import read_yaml
from harness.store import duck
from harness.store.files import read_record, read_trace, write_run
from harness.store.imports import find_imports
from harness.store.manifest import Kept, read_manifest

RUN = "campaign: x\nruns:\n- task: text-generation\n  model: {id: tiny-gpt2, weights: random}\n  sources: simulated\n"


@pytest.mark.parametrize(
    "name",
    ["../x", "..", ".superseded", ".lock", "manifest.jsonl", "a\nb", "a\x1b[2J", "a\u202eb", "x" * 201, "é" * 121],
)
def test_a_stored_name_that_would_lead_elsewhere_or_hide_is_refused(name: str) -> None:
    for field in ("run_id", "campaign"):
        with pytest.raises(ValidationError, match="must be a plain name of at most 200 letters"):
            record_of(**{field: name})
    for field in ("halved_as", "halved_from"):
        with pytest.raises(ValidationError, match="must be a plain name"):
            Scheduled.model_validate({"order": "as-written", "order_seed": 0, "position": 1, field: name})
    with pytest.raises(ValidationError, match="must be a plain name"):
        Kept(at_utc="2026-01-01T00:00:00+00:00", run_id=name, status="failed", files={})
    assert record_of(run_id="a=1 [b] é" * 20).run_id.startswith("a=1")


@pytest.mark.parametrize(
    "name", ["trace.parquet", "record.json", "manifest.jsonl", "imported-1.jsonl", "windows.jsonl", "samples.bin"]
)
def test_a_pipe_in_a_folder_of_others_is_refused_and_not_waited_for(name: str, tmp_path: Path) -> None:
    run = tmp_path / "tests" / "run"
    record = record_of(run_id="run")
    write_run(run, record, None)
    place = run / name if name in ("trace.parquet", "record.json") else run.parent / name
    place.unlink(missing_ok=True)
    os.mkfifo(place)
    told = "Cannot read .*: it is a pipe, not a file"
    if name == "trace.parquet":
        with pytest.raises(StoreError, match=told):
            read_trace(run, record)
        with pytest.raises(StoreError, match=told):
            duck.read_stretches([place], 2)
        with pytest.raises(StoreError, match=told):
            duck.Table({"v": "DOUBLE"}).load(place, {"v": 1.0})
    elif name == "record.json":
        with pytest.raises(StoreError, match=told):
            read_record(place)
    elif name == "manifest.jsonl":
        with pytest.raises(StoreError, match=told):
            read_manifest(run.parent)
    elif name == "imported-1.jsonl":
        with pytest.raises(StoreError, match=told):
            find_imports([run.parent])
    else:
        assert unfinished(run.parent) is None
        assert len(read_samples(place, ("a",), 0.02).rows) == 0


def test_a_pipe_that_a_user_names_is_read(tmp_path: Path) -> None:
    pipe = tmp_path / "config.yaml"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("a: 1\n",))
    writer.start()
    assert read_yaml(pipe)[0] == {"a": 1}
    writer.join()


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ("  prompts: {kind: file, path: ../beside/outside.txt}\n", ":6: {folder}/../beside/outside.txt"),
        ("  prompts: {kind: file, path: '{beside}/outside.txt'}\n", ":6: {beside}/outside.txt"),
        ("  prompts: {kind: file, path: link.txt}\n", ":6: {folder}/link.txt"),
        ("  prompts: {kind: hub, dataset: ../beside}\n", ":6: ../beside"),
        ("  sources: {kind: simulated, sensor_profile: ../beside/none.yaml}\n", ":5: {folder}/../beside/none.yaml"),
        ("  model: ../beside/model\n", ":4: {folder}/../beside/model"),
        ("  model: {id: '{beside}/no-such-model'}\n", ":4: {beside}/no-such-model"),
    ],
)
def test_a_path_of_a_config_stays_in_its_folder_unless_the_start_allows_more(
    run: str, told: str, tmp_path: Path
) -> None:
    places = {"folder": tmp_path / "configs", "beside": tmp_path / "beside"}
    places["folder"].mkdir()
    (places["beside"] / "model").mkdir(parents=True)
    (places["beside"] / "outside.txt").write_text("a line\n")
    (places["folder"] / "link.txt").symlink_to(places["beside"] / "outside.txt")
    for name, place in places.items():
        run, told = run.replace(f"{{{name}}}", str(place)), told.replace(f"{{{name}}}", str(place))
    key = run.strip().partition(":")[0]
    lines = [line for line in RUN.splitlines(keepends=True) if not line.startswith(f"  {key}:")]
    line = {"model": 3, "sources": 4}.get(key, 5)
    path = places["folder"] / "config.yaml"
    path.write_text("".join([*lines[:line], run, *lines[line:]]))
    with pytest.raises(HarnessError) as caught:
        load_plan(path)
    assert caught.value.message == f"{path}{told} is not in the config's folder."
    assert caught.value.hint.endswith(f"harness run {path} --allow-outside")
    if "none.yaml" not in run:
        assert len(load_plan(path, allow_outside=True).specs) == 1


def test_a_dry_run_shows_the_program_that_a_config_would_start(tmp_path: Path) -> None:
    server = "  server: {command: [sh, -c, 'echo \"{port}\"'], concurrency: 1}\n"
    (tmp_path / "c.yaml").write_text(RUN.replace("  sources", "  engine: openai\n  sources") + server)
    answer = harness("run", "c.yaml", "--dry-run", cwd=tmp_path)
    assert """starts this program on this machine: sh -c 'echo "{port}"'""" in answer.out
