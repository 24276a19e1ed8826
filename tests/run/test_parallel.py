"""`--parallel` with real processes: a run on each simulated GPU at once, on the real clock."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from command import config, harness

from harness.store.files import find_runs

CONFIG = """\
campaign: side-by-side
defaults:
  engine: simulated
  task: text-generation
  measure: {window_s: 0.3, null_window_s: 0.2, idle_s: 0.5, settle_s: 0, warm_up_max_s: 0, min_repeats: 2,
            max_repeats: 2}
runs:
  - {model: a, sources: {kind: simulated, gpus: [0], node: {gpu_count: 2, steady: true}}}
  - {model: b, sources: {kind: simulated, gpus: [1], node: {gpu_count: 2, steady: true}}}
"""


def test_two_gpus_are_measured_at_once_in_processes_of_their_own(tmp_path: Path) -> None:
    answer = harness("run", config(tmp_path, CONFIG), "--parallel", "--json", cwd=tmp_path)
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["completed"] == 2
    records = {run.record.spec.model.id: run.record for run in find_runs([tmp_path / "results"])}
    a, b = records["a"], records["b"]
    for mine, other in ((a, b), (b, a)):
        assert mine.scheduled is not None
        assert mine.scheduled.beside == (other.run_id,)
        assert len(mine.measurements) == 2
    assert {info.id for info in a.sources if info.runs_model} != {info.id for info in b.sources if info.runs_model}
    spans = [tuple(map(datetime.fromisoformat, (run.started_at_utc, run.finished_at_utc))) for run in (a, b)]
    assert max(start for start, _ in spans) <= min(end for _, end in spans)  # they overlap
    # On one monotonic clock: each began to measure after both had loaded, so their windows lie in one stretch of time.
    assert max(run.measurements[0].start_s for run in (a, b)) < min(run.measurements[-1].end_s for run in (a, b))
