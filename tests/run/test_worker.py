"""The whole path with a real model on the CPU, a simulated A100 on the real clock, and CodeCarbon beside it.

One run has a process of its own, as with `harness run`; the other is spared importing torch once more.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from harness.run.executors import Executor, InProcessExecutor, SubprocessExecutor
from harness.simulated_node import SimulatedNodeSpec
from harness.specs import ImageOptions, MeasureSpec, ModelSpec, PromptSpec, RunSpec, SourcesSpec, TextOptions
from harness.store.files import read_trace

SHORT = MeasureSpec(
    window_s=0.5,
    null_window_s=0.3,
    idle_s=0.3,
    settle_s=0.2,
    warm_up_block_s=0.3,
    warm_up_max_s=0.5,
    min_repeats=2,
    max_repeats=3,
)


@pytest.mark.parametrize(
    ("spec", "executor_of"),
    [
        (
            RunSpec(
                task="text-generation",
                model=ModelSpec(id="tiny-gpt2", weights="random"),
                engine="transformers",
                text=TextOptions(new_tokens=10, template="Go on: {text}"),
                prompts=PromptSpec(count=3),
                batch_size=4,
                device="cpu",
                dtype="float32",
                sources=SourcesSpec(kind="simulated", node=SimulatedNodeSpec(gpu_count=2, seed=5)),
                measure=SHORT.model_copy(update={"cross_check": ("codecarbon",)}),
            ),
            SubprocessExecutor,
        ),
        (
            RunSpec(
                task="text-to-image",
                model=ModelSpec(id="tiny-sd", weights="random"),
                engine="diffusers",
                image=ImageOptions(steps=2, height=64, width=64, save_images=True),
                batch_size=2,
                device="cpu",
                dtype="float32",
                sources=SourcesSpec(kind="simulated", node=SimulatedNodeSpec(counter="truth")),
                measure=SHORT,
            ),
            InProcessExecutor,
        ),
    ],
    ids=["text", "image"],
)
def test_a_real_model_on_a_simulated_gpu_is_measured_within_the_stated_interval(
    spec: RunSpec, executor_of: type[Executor], tmp_path: Path
) -> None:
    with closing(executor_of()) as executor:
        record = executor.run(spec, "c", tmp_path, lambda progress: None)
    assert record.failure is None, record.failure
    assert record.simulated
    summary = record.summary
    assert summary is not None
    assert summary.true_gpu_energy_j is not None
    assert summary.gpu_energy_j.low <= summary.true_gpu_energy_j <= summary.gpu_energy_j.high

    # How it was asked is kept; a batch of four from three prompts is said, one of two from a thousand is none.
    assert record.template == ("Go on: {text}" if spec.text is not None else None)
    repeats = [caveat.message for caveat in record.caveats if caveat.code == "prompts-repeat"]
    assert [told.partition(":")[0] for told in repeats] == (
        ["The set has 3 prompts, and 4 are answered at once"] if spec.text is not None else []
    )

    # Every request yields exactly what was asked.
    for window in record.measurements:
        if spec.text is not None:
            assert window.work.output_tokens == window.work.requests * 10
        else:
            assert window.work.images == window.work.requests
            assert window.work.output_pixels == window.work.images * 64 * 64
        assert window.busy_s >= 4.5 * 0.1  # five sensor periods of work, about: pauses between batches are not work

    # Gross is idle share and above idle; the other GPU of the node idles and is counted beside, not within.
    parts = summary.gpu_idle_j.value + summary.gpu_above_idle_j.value
    assert parts == pytest.approx(summary.gpu_energy_j.value, rel=1e-9)
    others = len(record.sources) - 1
    assert summary.node_energy_j is None
    assert summary.node_missing is not None
    beside_w = (summary.node_gpus_energy_j.value - summary.gpu_energy_j.value) / summary.duration_s
    assert beside_w == pytest.approx(60 * others, abs=60 * others * 0.087 + 5.3)  # a board's gain and offset, 3 sd

    # The trace is the sampler's, from before the first window to after the last.
    trace = read_trace(tmp_path, record)
    assert trace is not None
    assert trace.rows[0, 0] < record.measurements[0].start_s
    assert trace.rows[-1, 0] > record.measurements[-1].end_s

    if spec.measure.cross_check:
        (check,) = record.cross_checks
        assert (check.tool, check.windows) == ("codecarbon", summary.windows)
        assert check.gpu_energy_j is not None
        # The same counters; its window is longer by up to one counter period and its own start at each end.
        slack_j = check.windows * 2 * 0.25 * 2 * 100
        assert 0 <= check.gpu_energy_j - check.harness_gpu_energy_j <= slack_j
    if spec.image is not None:
        assert len(list((tmp_path / "images").glob("*.png"))) == 2
