"""Hand-made CodeCarbon files, and a study of a few runs in the layout of its repository.

Every run of the study draws, on 8 GPUs: loading 485 W for 10 s, so 60 W idle each after 5 W for a context; working 520
W for 100 s, so 100 W on the active GPU; CPU 42.5 W, memory 430 W. Working: node 99.25 kJ, GPUs 52 kJ, active 10 kJ.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

J_PER_KWH = 3.6e6
SHARED = Path(__file__).parents[2] / "shared" / "data"
STUDY = SHARED / "study"

TAIL = (
    "country_name,country_iso_code,region,cloud_provider,cloud_region,os,python_version,codecarbon_version,cpu_count,"
    "cpu_model,gpu_count,gpu_model,longitude,latitude,ram_total_size,tracking_mode"
).split(",")
HEAD = (
    "timestamp,project_name,run_id,duration,emissions,emissions_rate,cpu_power,gpu_power,ram_power,cpu_energy,"
    "gpu_energy,ram_energy,energy_consumed"
).split(",")
TASK_COLUMNS = ["task_name", *HEAD, *TAIL, "on_cloud"]  # 31, version 2.3
RUN_COLUMNS = [*HEAD, *TAIL, "on_cloud", "pue"]  # 31, version 2.3
V3_COLUMNS = [
    *HEAD[:3],
    "experiment_id",
    *HEAD[3:],
    "water_consumed",
    *TAIL,
    *("cpu_utilization_percent", "gpu_utilization_percent", "ram_utilization_percent", "ram_used_gb"),
    *("on_cloud", "pue", "wue"),
]  # 38, version 3.3

BASE = {
    "timestamp": "2023-09-08T14:04:58",
    "project_name": "gpt2",
    "run_id": "run-1",
    "experiment_id": "e",
    "country_name": "United States",
    "country_iso_code": "USA",
    "region": "oregon",
    "os": "Linux",
    "python_version": "3.8.16",
    "codecarbon_version": "2.3.1",
    "cpu_count": 1,
    "cpu_model": "Intel(R) Xeon(R), 3.00GHz",
    "gpu_count": 8,
    "gpu_model": "8 x NVIDIA A100-SXM4-80GB",
    "longitude": -119.7,
    "latitude": 45.8,
    "ram_total_size": 1148.738,
    "tracking_mode": "machine",
    "on_cloud": "N",
    "pue": 1.0,
    "wue": 0.0,
    "water_consumed": 0.0,
}


def row(
    duration_s: float = 100.0, gpu_w: float = 520.0, cpu_w: float = 42.5, ram_w: float = 430.0, **cells: Any
) -> Any:
    """Cells of one row; energies follow from watts and seconds, emissions from Oregon's 138.75 g/kWh."""
    gpu, cpu, ram = (watts * duration_s / J_PER_KWH for watts in (gpu_w, cpu_w, ram_w))
    made = {"duration": duration_s, "cpu_power": cpu_w, "gpu_power": gpu_w, "ram_power": ram_w}
    made |= {"cpu_energy": cpu, "gpu_energy": gpu, "ram_energy": ram, "energy_consumed": gpu + cpu + ram}
    made |= {"emissions": (gpu + cpu + ram) * 0.13875, "emissions_rate": 0.0}
    return BASE | made | cells


def write(path: Path, columns: list[str], *rows: Any) -> Path:
    """A CSV file as CodeCarbon writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def phases(run_id: str, model: str, duration_s: float = 100.0, gpu_w: float = 520.0) -> list[Any]:
    """Rows of one run of the study."""
    same = {"run_id": run_id, "project_name": model}
    load = row(10.0, 485.0, task_name="load model", **same)
    return [load, row(duration_s, gpu_w, task_name="query model", **same)]


def small_study(folder: Path) -> Path:
    """Two text generators of the paper, a question answerer, and flan-t5-base prompted for it; two runs each."""
    plan = {
        "textgen_oscar": ["gpt2", "gpt2", "distilgpt2", "distilgpt2"],
        "qa_squad": ["deepset/roberta-base-squad2"] * 2,
        "zeroshot_qa_squad": ["google/flan-t5-base"] * 2,
    }
    number = 0
    for stem, models in plan.items():
        rows = []
        for model in models:
            number += 1
            run_id, seconds = f"run-{number}", 400.0 if stem.startswith("zero") else 100.0
            write(folder / f"emissions/base/emissions_base_{run_id}.csv", TASK_COLUMNS, *phases(run_id, model, seconds))
            rows.append(row(110.0, run_id=run_id, project_name=model))
        write(folder / f"emissions/complete/{stem}.csv", RUN_COLUMNS, *rows)
    lengths = folder / "lengths/complete/squad_flan.csv"
    lengths.parent.mkdir(parents=True)
    lengths.write_text("Input,Output,model,dataset\n100,2,google/flan-t5-base,squad\n120,4,google/flan-t5-base,squad\n")
    return folder
