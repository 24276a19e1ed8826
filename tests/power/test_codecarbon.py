"""CodeCarbon's own, unmodified tracker on the simulated GPU.

It looks for GPUs once, when it is imported, and keeps what it found: each test therefore runs in a process of its own.
"""

import json
import os
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

import harness

ROOT = str(Path(harness.__file__).parents[1])
needs_codecarbon = pytest.mark.skipif(find_spec("codecarbon") is None, reason="optional extra")

# No socket may leave the process, and the current folder holds a config that would spoil every figure.
PROLOGUE = """
import json, socket, sys, time
from pathlib import Path

attempts = []
socket.socket.connect = lambda self, address: attempts.append(str(address))
socket.getaddrinfo = lambda *where, **_: attempts.append(str(where)) or []

from harness.clock import RealClock
from harness.errors import SourceUnavailable
from harness.power.host import CodeCarbonMeter
from harness.simulation.gpu import NodeState, SimulatedNode
from harness.simulation.nvml import installed, nvidia_smi_on_path

clock = RealClock()

def node_of(*conditions):
    state = NodeState("A100-SXM4-80GB", 2, 7, "sensor", clock.now_s(), Path("load"), conditions)
    return SimulatedNode(state, clock)
"""
HOSTILE_CONFIG = """
[codecarbon]
pue = 2.0
save_to_api = true
emissions_endpoint = http://127.0.0.1:9/
co2_signal_api_token = token
force_cpu_power = 1000
output_dir = /does/not/exist
"""


def run(folder, script, **environ):
    (folder / ".codecarbon.config").write_text(HOSTILE_CONFIG)
    answer = subprocess.run(
        [sys.executable, "-c", PROLOGUE + textwrap.dedent(script)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": ROOT, "HOME": str(folder), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout.splitlines()[-1]), answer


@needs_codecarbon
def test_codecarbon_reads_the_energy_the_simulated_counters_counted(tmp_path):
    result, answer = run(
        tmp_path,
        """
        node = node_of()
        node.set_load(0, 0.6)
        windows = []
        with installed(node), nvidia_smi_on_path():
            meter = CodeCarbonMeter(2)
            for _ in range(2):
                time.sleep(0.3)
                before_s = clock.now_s()
                meter.start()
                opened_s = clock.now_s()
                time.sleep(1.2)
                closing_s = clock.now_s()
                reading = meter.stop()
                after_s = clock.now_s()
                counted = [
                    sum(gpu.counter_j(end_s) - gpu.counter_j(start_s) for gpu in node.gpus)
                    for start_s, end_s in ((opened_s, closing_s), (before_s, after_s))
                ]
                windows.append((reading.gpu_energy_j, *counted, reading.cpu_energy_j, reading.dram_energy_j,
                                len(reading.caveats)))
            meter.close()
        print(json.dumps([windows, attempts, meter.version, meter.cpu_provenance, meter.dram_provenance, meter.note]))
        """,
        CUDA_VISIBLE_DEVICES="1",  # CodeCarbon would meter GPU 1 alone
    )
    windows, attempts, version, cpu_provenance, dram_provenance, note = result
    for gpu_j, inside_j, around_j, cpu_j, dram_j, caveats in windows:
        # One counter step per GPU may fall into the edges; 1e-6 is CodeCarbon's rounded 2.77778e-7 kWh/J.
        assert inside_j * (1 - 1e-6) - 0.01 <= gpu_j <= around_j * (1 + 1e-6) + 0.01
        assert around_j <= inside_j * 1.01 + 60  # the edges themselves: a step of 0.1 s at 264 W and at 60 W
        assert 250 < gpu_j < 520  # (60 + 0.6 * 340) W + 60 W over 1.2 s, within gain and drift
        assert cpu_j > 0
        assert dram_j > 0
        assert caveats == 0
    assert attempts == []  # nothing was sent, whatever the config asked for
    assert answer.stderr == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == [".codecarbon.config", "load"]
    assert version[0].isdigit()
    assert (cpu_provenance in ("measured", "modelled"), dram_provenance) == (True, "modelled")
    assert "memory: a model" in note


@needs_codecarbon
def test_gpu_that_codecarbon_does_not_see_is_none_with_a_caveat_not_zero(tmp_path):
    result, _ = run(
        tmp_path,
        """
        import codecarbon  # too early: there is no GPU yet, and CodeCarbon does not look again
        with installed(node_of()), nvidia_smi_on_path():
            meter = CodeCarbonMeter(2)
            meter.start()
            reading = meter.stop()
            meter.close()
        print(json.dumps([reading.gpu_energy_j, [caveat.model_dump() for caveat in reading.caveats]]))
        """,
    )
    gpu_energy_j, (caveat,) = result
    assert gpu_energy_j is None
    assert caveat["code"] == "codecarbon-no-gpu"
    assert "does not see the GPUs" in caveat["message"]


@needs_codecarbon
def test_window_that_was_never_opened_is_an_error(tmp_path):
    result, _ = run(
        tmp_path,
        """
        from harness.errors import MeasurementInvalid
        meter = CodeCarbonMeter(0)
        try:
            meter.stop()
        except MeasurementInvalid as error:
            print(json.dumps(error.message))
        """,
    )
    assert result == "CodeCarbon has no open window."


def test_missing_codecarbon_names_the_extra(tmp_path):
    result, _ = run(
        tmp_path,
        """
        sys.modules["codecarbon"] = None  # as if it were not installed
        try:
            CodeCarbonMeter(1)
        except SourceUnavailable as error:
            print(json.dumps([error.message, error.hint]))
        """,
    )
    message, hint = result
    assert message == "The cross-check needs CodeCarbon, which is not installed."
    assert "pip install 'energy-harness[codecarbon]'" in hint
