"""Real processes that are killed or stopped: nothing outlives its runner, and nobody waits for what is stuck."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import psutil
import pytest
from campaigns import spec_of
from command import environment

from harness.measure.quality import samples_missed
from harness.power import sampler
from harness.power.sampler import ProcessSampler
from harness.simulation.gpu import NodeState
from harness.simulation.nvml import open_simulated_sources

RUNNER = """
import sys
from pathlib import Path
from harness.run.executors import SubprocessExecutor
from harness.specs import RunSpec
spec = RunSpec.model_validate_json(sys.argv[1])
SubprocessExecutor().run(spec, "c", Path(sys.argv[2]), lambda news: print(news.phase, flush=True))
"""


def test_a_runner_that_is_killed_takes_every_process_with_it(tmp_path: Path) -> None:
    spec = spec_of(node={"clock": "real"}, measure={"idle_s": 600})
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER, spec.model_dump_json(), str(tmp_path)],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while process.stdout.readline() != "idle\n":
        assert process.poll() is None
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 3  # fork server, worker, sampler
    process.kill()
    process.communicate()
    assert not psutil.wait_procs(children, timeout=20)[1]


def test_a_sampler_that_is_stalled_is_ended_and_the_trace_called_incomplete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "ANSWER_TIMEOUT_S", 0.2)
    monkeypatch.setattr(sampler, "STOP_TIMEOUT_S", 0.2)
    state = NodeState("A100-SXM4-80GB", 1, 0, "sensor", 0.0, None)
    helper = ProcessSampler(partial(open_simulated_sources, state, ()), ("GPU-0",), tmp_path / "samples.bin")
    helper.start()
    assert helper.pid is not None
    process = psutil.Process(helper.pid)
    process.suspend()
    helper.trace()  # does not wait for ever
    trace = helper.stop()
    assert not process.is_running()
    assert trace.missed_deadlines is None
    caveat = samples_missed(trace)
    assert caveat is not None
    assert caveat.code == "sampler-died"
