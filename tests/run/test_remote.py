"""The node's part of a run on a cluster: what it sends, whom it meets, and what it leaves when it is killed. No Ray."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness.own_process import own_environment
from harness.run import remote
from harness.run.executors import SubprocessExecutor
from harness.run.remote import made_here, version_of
from harness.run.worker import WorkerTask
from harness.simulated_node import SimulatedNodeSpec
from harness.specs import MeasureSpec, ModelSpec, RunSpec, SourcesSpec, TextOptions

QUICK = MeasureSpec(window_s=0.2, null_window_s=0.1, idle_s=0.1, settle_s=0, warm_up_max_s=0, min_repeats=2)
KILLED = """
import sys
from harness.run.remote import made_here
for kind, content in made_here(sys.argv[1]):
    print(kind, content, flush=True)
"""


def task(campaign: str, model: str, **changes: object) -> WorkerTask:
    spec = RunSpec(
        task="text-generation",
        model=ModelSpec(id=model),
        engine="simulated",
        text=TextOptions(),
        device="cpu",
        sources=SourcesSpec(kind="simulated", node=SimulatedNodeSpec(clock="real", steady=True)),
        measure=QUICK.model_copy(update=changes),
    )
    return WorkerTask(spec=spec, campaign=campaign, scratch="")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    kept: dict[str, SubprocessExecutor] = {}
    monkeypatch.setattr(remote, "_kept", kept)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield tmp_path
    for executor in kept.values():
        executor.close()


def test_runs_of_two_campaigns_on_one_machine_see_each_other(folders: Path) -> None:
    """The second one begins while the first one measures, and ends before it."""
    first, second = task("one", "first", max_repeats=6, min_repeats=6), task("two", "second", max_repeats=2)
    told: dict[str, list[tuple[str, object]]] = {}
    measures = threading.Event()

    def make(made: WorkerTask) -> None:
        news = told.setdefault(made.campaign, [])
        for kind, content in made_here(made.model_dump_json()):
            news.append((kind, content))
            if kind == "windows":
                measures.set()

    beginning = threading.Thread(target=make, args=(first,))
    beginning.start()
    assert measures.wait(60)
    make(second)
    beginning.join()
    seen = {campaign: [content for kind, content in news if kind == "beside"] for campaign, news in told.items()}
    assert seen == {"one": [[["two", second.spec.run_id]]], "two": [[["one", first.spec.run_id]]]}
    for news in told.values():
        assert news[-1][0] == "files"
        files = news[-1][1]
        assert isinstance(files, dict)
        assert sorted(files) == ["record.json", "trace.parquet"]
        assert json.loads(files["record.json"])["status"] == "complete"
        assert version_of(files) == json.loads(files["record.json"])["environment"]["harness_version"]
    assert [path.name for path in folders.glob("harness-runs-*/*")] == ["lock"]


def test_a_run_whose_process_is_killed_leaves_neither_process_nor_folder(folders: Path) -> None:
    endless = task("c", "m", idle_s=600).model_dump_json()
    command = [sys.executable, "-c", KILLED, endless]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=own_environment()) as maker:
        assert maker.stdout is not None
        while '"idle"' not in (line := maker.stdout.readline()):
            assert line, "it ended"
        (mine,) = (path for path in folders.glob("harness-runs-*/*") if path.is_dir())
        left = [
            process
            for process in psutil.process_iter(["environ", "pid"])
            if (process.info["environ"] or {}).get("TMPDIR") == str(folders) and process.pid != maker.pid
        ]
        assert len(left) >= 3  # fork server, worker, and who cleans up
        maker.kill()
    assert not psutil.wait_procs(left, timeout=30)[1]
    assert not mine.exists()
