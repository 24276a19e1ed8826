"""Every GPU of the machine as NVML describes it: what `harness doctor` shows."""

from __future__ import annotations

from dataclasses import dataclass

from harness.clock import Clock
from harness.power.nvml import open_gpus
from harness.records import Caveat, Provenance


@dataclass(frozen=True, slots=True)
class GpuSummary:
    """One GPU as NVML describes it; None where the board does not say."""

    index: int
    uuid: str
    name: str
    driver: str | None
    memory_bytes: int | None
    power_limit_w: float | None
    has_counter: bool
    instant_power: bool
    mig_enabled: bool
    compute_processes: tuple[int, ...] | None
    sensor_profile: str
    caveats: tuple[Caveat, ...]


def nvml_summary(clock: Clock, provenance: Provenance = "measured") -> list[GpuSummary]:
    """Every GPU of the machine, in index order.

    Raises:
        SourceUnavailable: No NVIDIA driver answers.
    """
    sources = open_gpus((), provenance, clock, environ={})
    try:
        return [
            GpuSummary(
                index=source.index,
                uuid=source.info.id,
                name=source.info.device_name,
                driver=source.info.driver,
                memory_bytes=source.memory_bytes,
                power_limit_w=source.info.power_limit_w,
                has_counter=source.has_counter,
                instant_power=source.instant_supported,
                mig_enabled=source.mig_enabled,
                compute_processes=source.compute_processes(),
                sensor_profile=source.info.sensor_profile,
                caveats=source.caveats,
            )
            for source in sources
        ]
    finally:
        for source in sources:
            source.close()
