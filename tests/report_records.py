"""Records whose figures are known by hand, and a store of them with everything that a page must bear."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fakes import measurement_of, run_spec, source_energy_of, source_info, trace_of

from harness.measure.summary import summarize
from harness.records import Caveat, Failure, RunRecord, WorkCounts
from harness.report.ranking import per_kwh
from harness.report.results import Editions
from harness.store.files import write_run

ONE_KWH = per_kwh(Editions(phone="epa-current", car="epa-current", grid="usa-2023"))
GPU = source_info(device_name="NVIDIA A100-SXM4-80GB")
EVIL = "<img src=x onerror=alert(1)>"


def record_of(model: str = "small", energy_j: float = 3000.0, batch: int = 4, **changes: Any) -> RunRecord:
    """Two equal windows of 100 generations and 2,900 J at work, unless told otherwise: 29 J each."""
    measurements = (measurement_of(source_energy_of(energy_j=energy_j)),) * 2
    content: dict[str, Any] = {
        "run_id": f"{model.replace('/', '-')}-{batch}-{energy_j:g}",
        "campaign": "tests",
        "origin": "simulated",
        "spec": run_spec(model={"id": model}, batch_size=batch),
        "environment": None,
        "started_at_utc": "2026-01-01T00:00:00+00:00",
        "finished_at_utc": "2026-01-01T00:01:00+00:00",
        "status": "complete",
        "sources": (GPU,),
        "measurements": measurements,
        "summary": summarize(measurements, (GPU,), "no meter", 0.02),
        "parameter_count": 7_000_000,
    }
    return RunRecord.model_validate(content | changes)


def image_record(model: str, energy_j: float) -> RunRecord:
    """A text-to-image run of 100 images in each of two windows, measured."""
    work = WorkCounts(requests=100, images=100)
    measurements = (measurement_of(source_energy_of(energy_j=energy_j), work=work),) * 2
    spec = run_spec(task="text-to-image", model={"id": model}, text=None, image={"steps": 4}, dtype="float32")
    summary = summarize(measurements, (GPU,), "no meter", 0.02)
    return record_of(
        model, energy_j, spec=spec, measurements=measurements, summary=summary, origin="measured", parameter_count=None
    )


def write_store(results: Path) -> None:
    """Eight text runs of four models (6 to 170 J each), two image runs, one failed, one without work, two unreadable.

    One model's name is markup, and so are its caveat and the failure's message.
    """
    text = [record_of(model, 100 + 1000.0 * (index + 1), 1) for index, model in enumerate(["a", "b", "c"])]
    text += [record_of(model, 100 + 600.0 * (index + 1), 8) for index, model in enumerate(["a", "b", "c"])]
    evil = Caveat(code="evil", message=f"a caveat with {EVIL} and </script>\u2028")
    text += [
        record_of(EVIL, 17_100.0, 1, run_id="evil-1", caveats=(evil,)),
        record_of(EVIL, 17_000.0, 8, run_id="evil-8"),
    ]
    failure = Failure(kind="out_of_memory", message=f"It does not fit {EVIL}", hint="Try less.", phase="load")
    failed = record_of("large", status="failed", summary=None, measurements=(), failure=failure, run_id="large-1")
    idle = record_of("idle")
    without = record_of("idle", run_id="idle-1", summary=idle.summary.model_copy(update={"generations": 0}))
    trace = trace_of(([0.0, 4.0, 8.0, 11.0], [100.0, 300.0, 300.0, 100.0]))
    for record in (*text, image_record("painter", 300_000.0), image_record("sketcher", 60_000.0), failed, without):
        write_run(results / record.campaign / record.run_id, record, trace if record.run_id == "a-1-1100" else None)
    newer = json.loads(record_of("newer").model_dump_json()) | {"schema_version": 99}
    for name, content in (("newer", json.dumps(newer)), ("broken", '{"run_id": 3}')):
        folder = results / "tests" / name
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(content, encoding="utf-8")
