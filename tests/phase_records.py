"""Records of runs whose batches take a known energy, for fits and sweeps: three windows of equal energy each."""

from __future__ import annotations

from typing import Any

from fakes import measurement_of, run_spec, source_energy_of, source_info

from harness.measure.summary import summarize
from harness.records import RunRecord, WorkCounts


def record_of_batch(
    energy_j: float,
    batch_size: int = 1,
    input_tokens: int = 10,
    new_tokens: int = 10,
    batch_s: float = 0.1,
    image: dict[str, Any] | None = None,
    sources: tuple[Any, ...] = (),
    scatter: float = 0.001,
    run_id: str = "",
    origin: str = "simulated",
    **spec: Any,
) -> RunRecord:
    """A run of 100 batches per window whose mean batch takes `energy_j`; its windows scatter by `scatter`, relative."""
    count = 100 * batch_size
    if image is None:
        work = WorkCounts(requests=count, input_tokens=count * input_tokens, output_tokens=count * new_tokens)
        changes: dict[str, Any] = {"text": {"new_tokens": new_tokens}}
    else:
        pixels = image.get("height", 512) * image.get("width", 512)
        work = WorkCounts(
            requests=count, images=count, output_pixels=count * pixels, denoising_steps=count * image["steps"]
        )
        changes = {"task": "text-to-image", "text": None, "image": image}
    sources = sources or (source_info(),)
    windows = tuple(
        measurement_of(
            source_energy_of(
                energy_j=100 * energy_j * (1 + scatter * step) + 100.0, source_id=sources[0].id, budget=()
            ),
            work=work,
            busy_s=100 * batch_s,
        )
        for step in (-1, 0, 1)
    )
    full = run_spec(batch_size=batch_size, **(changes | spec))
    return RunRecord.model_validate(
        {
            "run_id": run_id or full.run_id,
            "campaign": "any",
            "origin": origin,
            "spec": full,
            "environment": None,
            "started_at_utc": "2026-11-24T12:00:00+00:00",
            "finished_at_utc": "2026-11-24T12:01:00+00:00",
            "status": "complete",
            "sources": sources,
            "measurements": windows,
            "summary": summarize(windows, sources, "no host", 0.02),
        }
    )
