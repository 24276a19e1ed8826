"""Time and memory to read and check CodeCarbon files: the harness's importer beside a loop of pandas, by turns.

    .venv/bin/python scripts/bench_import.py DIR [--repeats 5] [--json FILE]

DIR holds CSV files, for instance emissions/base of the study's data. Each reader runs in a process of its own, so that
its memory is its own; they take turns, so that a busy machine slows both. "read" is reading alone, "checked" is with
every check of `harness import codecarbon`, "records" also makes and writes the records. pandas comes with codecarbon.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

HARNESS = """
import resource, sys, tempfile, time
from pathlib import Path
begun = time.perf_counter()
from harness.importers.codecarbon import read_codecarbon, records
from harness.importers.codecarbon_table import find_files, read_table
from harness.store.imports import keep_imports
loaded, spent = time.perf_counter(), time.process_time()
if sys.argv[2] == "read":
    table = read_table(find_files([sys.argv[1]]))
else:
    reading = read_codecarbon([sys.argv[1]])
    table = reading.table
    if sys.argv[2] == "records":
        folder = tempfile.TemporaryDirectory()
        keep_imports(Path(folder.name), "bench", list(records(reading, "bench")))
done, spent = time.perf_counter(), time.process_time() - spent
total = float(table.number["energy_consumed"].sum())
print(loaded - begun, done - loaded, spent, len(table.file), total)
"""
PANDAS = """
import resource, sys, time
from pathlib import Path
begun = time.perf_counter()
import pandas as pd
loaded, spent = time.perf_counter(), time.process_time()
rows = pd.concat([pd.read_csv(path) for path in sorted(Path(sys.argv[1]).rglob("*.csv"))])
done, spent = time.perf_counter(), time.process_time() - spent
print(loaded - begun, done - loaded, spent, len(rows), float(rows["energy_consumed"].sum()))
"""
MEMORY = "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
READERS = {"harness, read": (HARNESS, "read"), "harness, checked": (HARNESS, "checked")}
READERS |= {"harness, records": (HARNESS, "records"), "pandas loop, read": (PANDAS, "")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    runs: dict[str, list[tuple[float, ...]]] = {name: [] for name in READERS}
    for _ in range(options.repeats):
        for name, (code, mode) in READERS.items():
            command = [sys.executable, "-c", code + MEMORY, str(options.folder), mode]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            runs[name].append(tuple(map(float, done.stdout.split())))
    report = {}
    for name, figures in runs.items():
        load_s, work_s, cpu_s, rows, energy_kwh, memory_mb = (
            statistics.median(column) for column in zip(*figures, strict=True)
        )
        spread = [min(figure[1] for figure in figures), max(figure[1] for figure in figures)]
        report[name] = {
            "load_s": load_s,
            "work_s": work_s,
            "work_range_s": spread,
            "cpu_s": cpu_s,
            "memory_mb": memory_mb,
        }
        report[name] |= {"rows": rows, "energy_kwh": energy_kwh}
    pandas_s, read_s = report["pandas loop, read"]["work_s"], report["harness, read"]["work_s"]
    checked_s = report["harness, checked"]["work_s"]
    for name, row in report.items():
        low, high = row["work_range_s"]
        print(
            f"{name:18} {row['work_s']:6.2f} s ({low:.2f} to {high:.2f}), CPU {row['cpu_s']:.2f} s, "
            f"imports {row['load_s']:.2f} s, {row['memory_mb']:.0f} MB, {row['rows']:,.0f} rows, "
            f"{row['energy_kwh']:.4f} kWh"
        )
    print(f"pandas / harness: {pandas_s / read_s:.1f} to read, {pandas_s / checked_s:.1f} to read and check")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
