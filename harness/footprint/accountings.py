"""How a study would have counted a run's energy, beside our own count: measured GPUs and the study's assumed rest."""

from __future__ import annotations

from pydantic import Field

from harness.footprint.factors import factor
from harness.records import Accounting, Frozen, RunRecord
from harness.stats import Estimate
from harness.units import J_PER_KWH

PER = 1000


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
    cpu, memory = factor("cpu-power", accounting), factor("memory-power", accounting)
    unmetered_s = record.spec.replay.memory_unmetered_s if record.spec.replay else 0.0
    cpu_j = cpu.value * summary.duration_s
    memory_j = memory.value * (summary.duration_s - unmetered_s)
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
        assumptions=f"CPU {cpu.value_text} W and memory {memory.value:.3f} W, times the engine's time",
        source=cpu.source,
    )
