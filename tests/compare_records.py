"""Records to compare: windows of 100 generations and 10 s whose joules per generation are given one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fakes import measurement_of, run_spec, source_energy_of, source_info

from harness.measure.summary import summarize
from harness.records import RunRecord, WorkCounts

BOARD = source_info()  # gain known to 1 %, offset to 0.5 W
OTHER_BOARD = source_info(id="GPU-1")


def record_of(
    energies_j: Sequence[float],
    model: str = "a",
    sources: tuple[Any, ...] = (BOARD,),
    fed: Sequence[int] | None = None,
    work: dict[str, Any] | None = None,
    budget: tuple[Any, ...] = (),
    campaign: str = "tests",
    origin: str = "simulated",
    **spec: Any,
) -> RunRecord:
    """A run whose model ran on the first source; `fed`: input tokens of each window, which tell its inputs."""
    windows = tuple(
        measurement_of(
            source_energy_of(energy_j=100 * energy_j + 100.0, source_id=sources[0].id, budget=budget),
            label=f"repeat-{index + 1}",
            work=WorkCounts(
                **({"requests": 100, "output_tokens": 1000} | (work or {}) | {"input_tokens": fed[index] if fed else 0})
            ),
        )
        for index, energy_j in enumerate(energies_j)
    )
    full = run_spec(**({"model": {"id": model}} | spec))
    return RunRecord.model_validate(
        {
            "run_id": full.run_id,
            "campaign": campaign,
            "origin": origin,
            "spec": full,
            "environment": None,
            "started_at_utc": "2026-11-29T12:00:00+00:00",
            "finished_at_utc": "2026-11-29T12:01:00+00:00",
            "status": "complete",
            "sources": sources,
            "measurements": windows,
            "summary": summarize(windows, sources, "no host", 0.02),
        }
    )
