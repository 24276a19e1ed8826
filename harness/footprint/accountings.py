"""How a study would have counted a run's energy, beside our own count: measured GPUs and the study's assumed rest."""

from __future__ import annotations

import csv
import functools
from importlib.resources import files
from typing import Literal

from pydantic import Field

from harness.frozen import Frozen
from harness.records import RunRecord
from harness.specs import Accounting
from harness.stats import Estimate
from harness.units import J_PER_KWH

PER = 1000


class AssumedPower(Frozen):
    """One constant power of an accounting, with its source (harness/data/accountings.csv)."""

    accounting: Accounting
    part: Literal["cpu", "memory"]
    power_w: float
    whose: str
    source: str
    note: str


class Accounted(Frozen):
    """One run under a study's accounting, kWh per 1,000 generations. Modelled: two of its three parts are assumed.

    The interval is that of the GPUs; a power that is assumed has none.
    """

    accounting: Accounting
    boundary: str
    energy_kwh_per_1000: Estimate
    gpus_kwh_per_1000: float = Field(description="every GPU of the machine, measured, or simulated")
    cpu_kwh_per_1000: float = Field(description="assumed power times engine time")
    memory_kwh_per_1000: float = Field(description="assumed power times engine time")
    assumptions: str
    source: str


def accounted(record: RunRecord, accounting: Accounting) -> Accounted | None:
    """A run under a study's accounting: every GPU of the machine by its counter, CPU and memory at constant powers.

    A replay leaves out the time for which the study's own meter charged no memory power; other runs do not, since
    that time is a slip of the meter and not a rule.

    Returns:
        None for a run without a result.
    """
    summary = record.summary
    if summary is None:
        return None
    cpu, memory = assumed_power(accounting, "cpu"), assumed_power(accounting, "memory")
    unmetered_s = record.spec.replay.memory_unmetered_s if record.spec.replay else 0.0
    cpu_j = cpu.power_w * summary.duration_s
    memory_j = memory.power_w * (summary.duration_s - unmetered_s)
    gpus = summary.node_gpus_energy_j
    shifted = {name: getattr(gpus, name) + cpu_j + memory_j for name in ("value", "low", "high")}
    count = sum(source.kind == "gpu" for source in record.sources)
    to_kwh = PER / J_PER_KWH
    return Accounted(
        accounting=accounting,
        boundary=f"node: {'all ' if count > 1 else ''}{count} GPU{'s' if count > 1 else ''}, CPU and memory assumed",
        energy_kwh_per_1000=gpus.model_copy(update=shifted).scaled(to_kwh),
        gpus_kwh_per_1000=gpus.value * to_kwh,
        cpu_kwh_per_1000=cpu_j * to_kwh,
        memory_kwh_per_1000=memory_j * to_kwh,
        assumptions=f"CPU {cpu.power_w:g} W and memory {memory.power_w:.6g} W, times the engine's time",
        source=cpu.source,
    )


def assumed_power(accounting: Accounting, part: Literal["cpu", "memory"]) -> AssumedPower:
    """The power that an accounting assumes for a part of a node."""
    return next(each for each in _assumed_powers() if (each.accounting, each.part) == (accounting, part))


@functools.cache
def _assumed_powers() -> tuple[AssumedPower, ...]:
    text = files("harness").joinpath("data", "accountings.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return tuple(AssumedPower.model_validate(row) for row in rows)
