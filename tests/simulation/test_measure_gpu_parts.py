"""The pieces of scripts/measure_gpu: planning by what runs took, intervals, packages, the archive, told commits."""

from __future__ import annotations

import importlib
import math
import os
import random
import subprocess
import sys
import tarfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from harness.run import environment
from harness.run.executors import InProcessExecutor

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"


@pytest.fixture(autouse=True)
def scripts_on_path() -> Iterator[None]:
    sys.path.insert(0, str(SCRIPTS))
    yield
    sys.path.remove(str(SCRIPTS))


def module(name: str) -> Any:
    return importlib.import_module(f"_measure_gpu_{name}")


# --- time -------------------------------------------------------------------------------------------------


def record_of(windows: int, busy_s: float, batches: int, warm_up_s: float) -> Any:
    window = SimpleNamespace(busy_s=busy_s, work=SimpleNamespace(requests=8 * batches))
    return SimpleNamespace(
        measurements=(window,) * windows,
        warm_up=SimpleNamespace(duration_s=warm_up_s),
        spec=SimpleNamespace(batch_size=8),
    )


def test_the_next_run_is_planned_by_what_the_runs_before_it_took() -> None:
    plan = module("plan")
    costs = plan.Costs()
    asked = plan.Asked({}, "m", 10)
    # Assumed: 0.25 s a batch; 7 + 2.5 + 2 x 0.25 + 5 x (1 + 0.3 + 0.8) = 20.5 s with windows of 1 s.
    assert costs.run_s(asked, 1.0) == pytest.approx(20.5)
    assert len(costs.fitting([asked] * 5, 61.6)) == 3

    # Twice as slow as assumed: 3 s of warm-up and five windows of four batches in 2 s, in 30 s altogether.
    costs.learn(asked, record_of(5, 2.0, 4, 3.0), 30.0)
    assert costs.batch_s(asked) == pytest.approx(0.5)
    assert costs.start_s == pytest.approx(30 - 3 - 5 * (2 + 0.3 + 0.8))  # 11.5 s
    # 11.5 + 2.5 + 2 x 0.5 + 5 x 2.1 = 25.5 s
    assert costs.run_s(asked, 1.0) == pytest.approx(25.5)
    assert len(costs.fitting([asked] * 5, 61.6)) == 2

    # One slow start, as that of a first run, does not decide: the median of 11.5, 21.5 and 11.5.
    costs.learn(asked, record_of(5, 2.0, 4, 3.0), 40.0)
    costs.learn(asked, record_of(5, 2.0, 4, 3.0), 30.0)
    assert costs.start_s == pytest.approx(11.5)


def test_windows_take_what_the_time_leaves_for_them_and_stay_within_bounds() -> None:
    plan = module("plan")
    costs = plan.Costs(starts_s=[4.0], step_s={"m": 0.001})
    asked = plan.Asked({}, "m", 10)
    # Two runs in 50 s: 25 = 4 + 2.5 + 0.02 + 5 x (w + 1.1), so w = 2.596 s, in whole batches of 10 ms.
    assert costs.window_s([asked] * 2, 50.0) == pytest.approx(2.59, abs=0.011)
    assert costs.window_s([asked] * 2, 600.0) == 3.0
    assert costs.window_s([asked] * 2, 10.0) == 1.0  # does not fit: the shortest

    # One that does not fit leaves its time to those after it: 6.52 + 5 x 2.1 = 17.02 s each, and w = 1.596 s in 20 s.
    longer = plan.Asked({}, "m", 20_000)
    assert costs.fitting([asked, longer, asked], 35.0) == [asked, asked]
    assert costs.window_s([longer, asked], 20.0) == pytest.approx(1.59, abs=0.011)

    # A batch of 3 s: three windows of one batch, and a warm-up in which two batches fit.
    long = plan.Asked({}, "m", 3000)
    assert costs.run_s(long, 1.0) == pytest.approx(4 + 2.5 + 6 + 3 * (3 + 1.1))
    assert costs.measure(long, 1.0) == {
        "window_s": 1.0,
        "warm_up_max_s": 8.5,
        "min_repeats": 3,
        "max_repeats": 3,
        "max_duration_s": 48.0,
    }


def context_of(out: Path, left_s: float) -> Any:
    """A context of a real board in which every part ends in `left_s`."""
    plan, context = module("plan"), module("context")
    device = plan.Device("NVIDIA H200", False)
    made = context.Context(out, 1.0, time.monotonic(), device, InProcessExecutor(), lambda told: None)
    made.start_s += left_s - 1.0
    return made


def test_a_part_of_which_too_few_runs_fit_is_not_begun(tmp_path: Path) -> None:
    plan, campaign, context = module("plan"), module("campaign"), module("context")
    phases = next(part for part in plan.PARTS if part.name == "phases")
    assert phases.fewest == 4
    late = context_of(tmp_path, 50.0)
    late.total_s = 1e-9  # every deadline is the start
    late.start_s = time.monotonic() + 50.0
    with pytest.raises(context.LeftOut, match=r"left for it: 2 runs fit, and fewer than 4 tell nothing"):
        campaign.campaign(phases, late)
    assert late.counts["phases"] == {"planned": 5, "done": 0}
    assert not (tmp_path / "runs").exists()


def test_what_a_part_cannot_do_without_borrows_time_and_takes_none_for_long_windows(tmp_path: Path) -> None:
    plan, campaign = module("plan"), module("campaign")
    phases, images = (next(part for part in plan.PARTS if part.name == name) for name in ("phases", "images"))
    context = context_of(tmp_path, 0.0)
    context.total_s = 1000.0  # phases end at 325 s, images at 640 s, the last campaign at 965 s
    context.start_s = time.monotonic() - 300.0
    assert campaign.time_for(phases, 3, context) == pytest.approx(665.0, abs=5)
    assert campaign.time_for(phases, 4, context) == pytest.approx(25.0, abs=5)
    assert campaign.time_for(images, 0, context) == pytest.approx(340.0, abs=5)
    assert [part.name for part in plan.PARTS if part.campaign][-1] == plan.LAST_CAMPAIGN
    asked = plan.runs_of("phases", False)
    context.costs.starts_s = [1.0]  # 1 + 2.5 + 2 x 0.2 + 5 x (1 + 1.1) = 14.4 s: one run fits into its own time
    context.counts["phases"] = {"planned": 5, "done": 1}
    assert campaign.planned(asked[0], asked, phases, context)["measure"]["window_s"] == 1.0
    context.counts["phases"] = {"planned": 5, "done": 4}  # the fifth may have it all
    assert campaign.planned(asked[0], asked[:1], phases, context)["measure"]["window_s"] > 2.5


def test_what_does_not_fit_into_memory_or_time_is_left_out_with_the_reason(tmp_path: Path) -> None:
    plan, campaign, context = module("plan"), module("campaign"), module("context")
    late = context.Context(
        tmp_path,
        540.0,
        time.monotonic() - 3600,
        plan.Device("NVIDIA A2", True, memory_bytes=8 * 2**30),
        InProcessExecutor(),
        lambda told: None,
    )
    text = next(part for part in plan.PARTS if part.name == "text")
    with pytest.raises(context.LeftOut, match="no run of it was done"):
        campaign.campaign(text, late)
    reasons = {each["what"]: each["reason"] for each in late.dropped}
    # 6,658,473,984 weights of two bytes are 12.4 GiB.
    assert reasons["opt-6.7b, batch 1"] == "its weights take 12.4 GiB, and the board has 8.0 GiB"
    assert reasons["distilgpt2, batch 64"] == "0 s were left for it, and a run takes 0 s"
    assert late.counts["text"] == {"planned": 9, "done": 0}
    assert plan.deadlines_s(540.0)["report"] == pytest.approx(540.0)


def test_on_a_real_board_every_campaign_is_a_config_that_harness_run_accepts(tmp_path: Path) -> None:
    plan, config = module("plan"), importlib.import_module("harness.run.config")
    costs, device = plan.Costs(), plan.Device("NVIDIA H200", False)
    specs = {}
    for part in (part for part in plan.PARTS if part.campaign):
        runs = [asked.run | {"measure": costs.measure(asked, 2.0)} for asked in plan.runs_of(part.name, False)]
        path = tmp_path / f"{part.name}.yaml"
        path.write_text(yaml.safe_dump(plan.config_of(part.name, runs, device, None)), encoding="utf-8")
        specs[part.name] = config.load_plan(path).specs
    assert {name: len(each) for name, each in specs.items()} == {"phases": 5, "images": 5, "text": 24, "chat": 4}
    assert [spec.batch_size for spec in specs["chat"]] == [1, 64, 256, 8]
    every = [spec for each in specs.values() for spec in each]
    assert {spec.dtype for spec in every} == {"bfloat16"}
    assert {spec.model.weights for spec in every} == {"random"}
    assert {spec.sources.kind for spec in every} == {"nvml"}
    # SDXL: 50 steps of 0.09 s make a batch of 4.5 s, so three windows, and a warm-up that holds two batches.
    sdxl = next(spec for spec in every if spec.model.id == "sdxl-base-1.0")
    assert (sdxl.measure.min_repeats, sdxl.measure.warm_up_max_s) == (3, 11.5)


def test_what_nothing_can_stand_in_for_comes_before_what_can_be_done_in_part() -> None:
    plan = module("plan")
    order = [part.name for part in plan.PARTS]
    assert order.index("phases") < order.index("weights") < order.index("images") < order.index("chat")
    images = [(run.model, run.steps) for run in plan.runs_of("images", False)]
    assert images[:3] == [("sd-1.5", 50), ("sd-1.5", 10), ("sd-1.5", 25)]
    phases = plan.runs_of("phases", False)
    assert {run.run["batch_size"] for run in phases} == {32}  # three phases: four runs tell them
    assert {(run.run["prompts"]["words"], run.steps) for run in phases[:4]} == {(32, 8), (32, 64), (512, 8), (512, 64)}


# --- intervals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [6, 12, 100])
def test_the_intervals_of_pairs_hold_as_often_as_they_say(count: int) -> None:
    """Turns whose noise hangs together (0.5 from turn to turn), in pairs of alternating order, and no cost at all."""
    bench, draws, trials = module("bench"), random.Random(count), 600
    held = {"mean_interval": 0, "median_interval": 0}
    for _ in range(trials):
        noise, turns = 0.0, []
        for _ in range(2 * count):
            noise = 0.5 * noise + draws.gauss(0, 0.01)
            turns.append(noise)
        pairs = [(turns[2 * k] - turns[2 * k + 1]) * (-1) ** k for k in range(count)]
        for name in held:
            _, low, high = getattr(bench, name)(pairs)
            held[name] += low <= 0 <= high
    # 95 % of 600 lies between 0.927 and 0.97 with a chance of 99 %; the sign test errs to the wide side.
    assert held["mean_interval"] / trials >= 0.925
    assert held["median_interval"] / trials >= 0.925


def test_intervals_of_pairs_by_hand() -> None:
    bench = module("bench")
    # Mean 2, standard deviation 1, t of two degrees 4.303: 2 ± 4.303 / sqrt(3).
    assert bench.mean_interval([1, 2, 3]) == pytest.approx((2.0, 2 - 2.4843, 2 + 2.4843), abs=1e-3)
    assert bench.mean_interval([1, 2])[1:] == (-math.inf, math.inf)
    # Of six values all lie on one side of the median with a chance of 2/64, of five with 2/32.
    assert bench.median_interval([6, 1, 2, 5, 3, 4]) == (3.5, 1, 6)
    assert bench.median_interval([1, 2, 3, 4, 5]) == (3, -math.inf, math.inf)
    # Of ten: 2 (1 + 10) / 1024 is 2.1 %, so the second and the ninth.
    assert bench.median_interval(list(range(10))) == (4.5, 1, 8)


def test_ratios_of_weights_by_hand() -> None:
    weights = module("weights")
    rounds = [(number, 100.0 + number) for number in range(3)]
    windows = [weights.Window(number, "random", 1, joules, 2.0, joules / 2) for number, joules in rounds]
    windows += [weights.Window(number, "zeros", 1, 0.8 * joules, 1.6, joules / 2) for number, joules in rounds]
    found = weights.ratios(windows, "zeros")
    assert found["energy"] == pytest.approx({"ratio": 0.8, "low": 0.8, "high": 0.8})
    assert found["busy"] == pytest.approx({"ratio": 0.8, "low": 0.8, "high": 0.8})
    assert found["power"] == pytest.approx({"ratio": 1.0, "low": 1.0, "high": 1.0})
    two = weights.ratios([window for window in windows if window.round < 2], "zeros")
    assert two["energy"] == {"ratio": pytest.approx(0.8), "low": None, "high": None}  # too few for an interval


# --- packages ---------------------------------------------------------------------------------------------


def without(package: str, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command on a machine that lacks a package."""
    hook = f"""\
    import sys

    class Lacking:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == {package!r}:
                raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

    sys.meta_path.insert(0, Lacking())
    """
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(hook), encoding="utf-8")
    given = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(tmp_path)}
    command = [str(SCRIPTS / "measure_gpu"), "--simulated", "--out", str(tmp_path / "out"), *arguments]
    return subprocess.run(command, env=given, capture_output=True, text=True)


def test_without_duckdb_it_says_what_it_is_needed_for_and_how_to_bring_it(tmp_path: Path) -> None:
    done = without("duckdb", tmp_path)
    assert done.returncode == 2
    assert "duckdb (every run's power over time is stored with it)" in done.stderr
    assert "--fetch-wheels" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_fetched_is_what_the_project_needs_without_pytorch_and_without_other_meters() -> None:
    wheels = module("wheels")
    fetched = wheels.requirements()
    assert "duckdb>=2.0" in fetched
    assert "diffusers>=0.36" in fetched
    assert not [name for name in fetched if name.startswith(("torch", "accelerate", "codecarbon"))]
    assert wheels.normalised("Lazy_Importer.x") == "lazy-importer-x"


def test_wheels_are_taken_as_they_are_without_what_they_ask_for(tmp_path: Path, monkeypatch: Any) -> None:
    wheel = tmp_path / "wheels" / "tiny_thing-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    import zipfile

    about = "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\nRequires-Dist: no-such-package-anywhere\n"
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr("tiny_thing.py", "answer = 42\n")
        packed.writestr("tiny_thing-1.0.dist-info/METADATA", about)
        packed.writestr(
            "tiny_thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        packed.writestr("tiny_thing-1.0.dist-info/RECORD", "")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")
    into = tmp_path / "unpacked"
    assert module("wheels").provide(wheel.parent, into) == "from wheels: tiny_thing 1.0"
    assert importlib.import_module("tiny_thing").answer == 42
    assert os.environ["PYTHONPATH"] == str(into)


# --- what comes back --------------------------------------------------------------------------------------


def test_the_archive_holds_all_but_what_is_in_progress_and_is_whole_at_any_moment(tmp_path: Path) -> None:
    out, archive = tmp_path / "out", tmp_path / "back" / "results.tgz"
    for name in ("README.md", "summary.json", "runs/c/r/record.json", "runs/c/.scratch-1/samples.bin"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(name, encoding="utf-8")
    pack = module("archive").pack
    pack(out, archive)
    (out / "README.md").write_text("newer", encoding="utf-8")
    pack(out, archive)
    with tarfile.open(archive) as packed:
        names = {member.name for member in packed.getmembers() if member.isfile()}
    assert names == {"out/README.md", "out/summary.json", "out/runs/c/r/record.json"}
    assert {path.name for path in archive.parent.iterdir()} == {"results.tgz", "README.md", "summary.json"}
    assert (archive.parent / "README.md").read_text(encoding="utf-8") == "newer"


def test_a_copy_without_history_tells_the_commit_that_it_was_told(tmp_path: Path, monkeypatch: Any) -> None:
    package = tmp_path / "harness" / "__init__.py"
    monkeypatch.setattr(environment, "harness", SimpleNamespace(__file__=str(package)))
    monkeypatch.delenv("HARNESS_COMMIT", raising=False)
    assert environment.git_commit() is None
    monkeypatch.setenv("HARNESS_COMMIT", "0123456789ab-dirty")
    assert environment.git_commit() == "0123456789ab-dirty (told by HARNESS_COMMIT)"
    monkeypatch.setenv("HARNESS_COMMIT", "../../secret")
    assert environment.git_commit() is None


def test_too_few_minutes_are_refused_with_a_sentence(tmp_path: Path) -> None:
    command = [str(SCRIPTS / "measure_gpu"), "--simulated", "--minutes", "0.3", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--minutes must be 1 at least" in done.stderr
    assert not (tmp_path / "out").exists()
