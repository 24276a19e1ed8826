"""`harness sensor characterize` as a user types it: table, JSON, file, a run that uses it, and how it ends early."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from command import QUICK, config, environment, harness

from harness.power.profiles import SensorProfile, read_profile, write_profile

QUICKLY = ("sensor", "characterize", "--simulated", "H100-SXM", "--seconds", "20")


def test_json_is_one_document_and_the_profile_is_what_a_run_then_uses(tmp_path: Path) -> None:
    answer = harness(*QUICKLY, "--seed", "3", "--out", "own.yaml", "--json", cwd=tmp_path)
    assert answer.code == 0, answer.err
    document = answer.document
    assert document["findings"]["kernel"] == "first_order"
    assert document["findings"]["tau_s"]["value"] == pytest.approx(0.0125, rel=0.05)
    assert document["simulator"]["tau_s"] == 0.0125
    assert set(document["explained"]) == set(document["findings"])
    assert document["profile_file"] == "own.yaml"
    assert "uncalibrated" in [caveat["code"] for caveat in document["caveats"]]
    profile = read_profile(tmp_path / "own.yaml")
    assert profile.model_dump(mode="json") == document["profile"]
    assert (profile.simulated, profile.calibrated) == (True, False)
    assert [path.name for path in tmp_path.iterdir()] == ["own.yaml"]

    node = "node: {clock: virtual, gpu: H100-SXM}, sensor_profile: own.yaml"
    used = harness("run", config(tmp_path, QUICK.replace("node: {clock: virtual}", node)), "--in-process", cwd=tmp_path)
    assert used.code == 0, used.err
    shown = harness(
        "show", str(next((tmp_path / "results" / "quick").glob("*/record.json")).parent), "--json", cwd=tmp_path
    )
    assert '"H100-80GB-HBM3-characterized"' in shown.out


def test_the_table_explains_every_quantity_and_names_the_file_that_it_wrote(tmp_path: Path) -> None:
    earlier = SensorProfile(name="p", kernel="boxcar", period_s=1, window_s=1, source="harness sensor characterize, x")
    write_profile(earlier, tmp_path / "H100-80GB-HBM3-characterized.yaml")  # one of ours may be replaced
    answer = harness(*QUICKLY, cwd=tmp_path)
    assert answer.code == 0, answer.err
    for words in ("update_period_s", "the power reading is renewed this often", "simulator's own", "first_order"):
        assert words in answer.out
    assert "No meter was used" in answer.out
    assert "sources: {sensor_profile: H100-80GB-HBM3-characterized.yaml}" in answer.out
    assert read_profile(tmp_path / "H100-80GB-HBM3-characterized.yaml").kernel == "first_order"
    assert "square load" in answer.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--simulated", "H1000"), "There is no simulated GPU 'H1000'"),
        (("--simulated", "H100-SXM", "--seconds", "3"), "3 s are too short"),
        (("--simulated", "H100-SXM", "--gpu", "4"), "There is no GPU 4"),
        (("--simulated", "H100-SXM", "--gpu", "GPU-none"), "GPU-none"),
        (("--simulated", "H100-SXM", "--out", "no/where.yaml"), "There is no folder no"),
        (("--simulated", "H100-SXM", "--out", "mine.yaml"), "mine.yaml exists and was not written by"),
        (("--seed", "3"), "belong to a simulated board"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_exit_2(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    (tmp_path / "mine.yaml").write_text("runs: []\n", encoding="utf-8")
    answer = harness("sensor", "characterize", *arguments, cwd=tmp_path)
    assert answer.code == 2
    assert words in answer.err
    assert "Traceback" not in answer.err
    assert answer.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


@pytest.mark.skipif(os.path.exists("/dev/nvidia0"), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    answer = harness("sensor", "characterize", cwd=tmp_path)
    assert answer.code == 2
    assert "No NVIDIA driver answers" in answer.err


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_stopping_it_under_load_leaves_no_process_and_no_file(tmp_path: Path, how: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "harness.cli.main", *QUICKLY, "--real-clock", "--out", "own.yaml"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    told = ""
    while "steady load" not in told:
        line = process.stderr.readline()
        assert line, told
        told += line
    children = psutil.Process(process.pid).children(recursive=True)
    assert children  # the sampler
    os.killpg(process.pid, how)  # as a terminal does: every process of the group
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "stopped: the load has ended" in err
    assert "Traceback" not in err
    deadline_s = time.monotonic() + 20
    while any(child.is_running() for child in children) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not [child for child in children if child.is_running()]
    assert list(tmp_path.iterdir()) == []
