"""Thousands of simulated records for scripts/bench_report.py: a few runs of the simulated engine, varied.

Every record is marked simulated, and its campaign is named `generated-...`: no model and no board stands behind it.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from harness.specs import RunSpec
from harness.store.files import RECORD, TRACE, StoredRun, find_runs

TEMPLATES = """\
campaign: templates
defaults:
  sources: {kind: simulated, node: {clock: virtual}}
  engine: simulated
runs:
  - {task: text-generation, model: pretend-text, batch_size: [1, 8]}
  - {task: text-to-image, model: pretend-image}
  - {task: summarization, model: pretend-summary}
  - {task: question-answering, model: pretend-answers}
  - {task: image-classification, model: pretend-classes}
"""
RUNS_PER_CAMPAIGN = 500
_VARIED = ("measurements", "summary", "idle", "host")


def write_records(results: Path, count: int, seed: int = 7) -> None:
    """Write `count` records in campaigns of 500 under a folder; each has its own model, energy and run id.

    Those of the first campaign have a power trace as well, the one of the run that they were made from.
    """
    runs = simulated_runs(results.parent / "templates")
    templates = [run.record.model_dump(mode="json") for run in runs]
    chance = random.Random(seed)
    for number in range(count):
        which = number % len(runs)
        model, batch_size = f"generated/model-{number // 4:04}", 2 ** (number % 4)
        content = varied(templates[which], model, batch_size, chance.lognormvariate(0, 1))
        folder = results / f"generated-{number // RUNS_PER_CAMPAIGN:02}" / content["run_id"]
        content["campaign"] = folder.parent.name
        folder.mkdir(parents=True)
        (folder / RECORD).write_bytes(to_json(content, indent=1))
        if number < RUNS_PER_CAMPAIGN:
            shutil.copyfile(runs[which].folder / TRACE, folder / TRACE)


def simulated_runs(folder: Path) -> list[StoredRun]:
    """A few runs of the simulated engine on a virtual clock."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "templates.yaml").write_text(TEMPLATES, encoding="utf-8")
    command = ["run", str(folder / "templates.yaml"), "--in-process", "--results", str(folder), "--json"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([sys.executable, "-m", "harness.cli.main", *command], check=True, **quiet)
    return find_runs([folder])


def varied(template: dict[str, Any], model: str, batch_size: int, factor: float) -> dict[str, Any]:
    """The same run of another model and batch size, every energy and power times a factor."""
    content = dict(template)
    spec = template["spec"] | {"batch_size": batch_size, "model": template["spec"]["model"] | {"id": model}}
    content["spec"] = spec
    content["run_id"] = RunSpec.model_validate(spec).run_id
    for part in _VARIED:
        content[part] = scaled(template[part], factor, False)
    return content


def scaled(content: Any, factor: float, energy: bool) -> Any:
    """JSON with each energy and power times a factor: fields that end in _j or _w, and estimates of such fields."""
    if isinstance(content, dict):
        ends = {key: key.endswith(("_j", "_w")) or "_j_per_" in key for key in content}
        inner = {key: ends[key] or (energy and key in ("value", "low", "high")) for key in content}
        return {key: scaled(value, factor, inner[key]) for key, value in content.items()}
    if isinstance(content, list):
        return [scaled(each, factor, energy) for each in content]
    return content * factor if energy and isinstance(content, float) else content
