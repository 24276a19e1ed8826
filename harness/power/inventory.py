"""Every GPU of the machine as NVML describes it: what `harness doctor` shows."""

from __future__ import annotations

from dataclasses import dataclass

from harness.clock import Clock
from harness.errors import UserInputError
from harness.frozen import Provenance
from harness.power.nvml import NvmlSource, open_gpus
from harness.power.profile_use import Board, profile_in_use
from harness.power.profiles import SensorProfile
from harness.records import Caveat


@dataclass(frozen=True, slots=True)
class GpuSummary:
    """One GPU as NVML describes it; None where the board does not say. `sensor_...`: the profile a run would use."""

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
    sensor_period_s: float
    sensor_window_s: float
    sensor_source: str
    caveats: tuple[Caveat, ...]


def nvml_summary(
    clock: Clock, provenance: Provenance = "measured", sensor_profile: SensorProfile | None = None
) -> list[GpuSummary]:
    """Every GPU of the machine, in index order.

    Args:
        clock: Stamps readings; none is taken here.
        provenance: "simulated" when the simulated library is installed.
        sensor_profile: What a run's `sources.sensor_profile` would name; a board it does not fit says so.

    Raises:
        SourceUnavailable: No NVIDIA driver answers.
    """
    sources = open_gpus((), provenance, clock, environ={})
    try:
        return [_summary(source, sensor_profile) for source in sources]
    finally:
        for source in sources:
            source.close()


def _summary(source: NvmlSource, given: SensorProfile | None) -> GpuSummary:
    info, used, caveats = source.info, source.profile, source.caveats
    if given is not None:
        simulated = info.provenance == "simulated"
        board = Board(source.index, info.device_name, info.driver, source.nvml_field, simulated, source.has_counter)
        try:
            caveats += profile_in_use(given, board).caveats
            used = given
        except UserInputError as error:
            caveats += (Caveat(code="profile-refused", message=error.message),)
    return GpuSummary(
        index=source.index,
        uuid=info.id,
        name=info.device_name,
        driver=info.driver,
        memory_bytes=source.memory_bytes,
        power_limit_w=info.power_limit_w,
        has_counter=source.has_counter,
        instant_power=source.instant_supported,
        mig_enabled=source.mig_enabled,
        compute_processes=source.compute_processes(),
        sensor_profile=info.sensor_profile if used is source.profile else used.name,
        sensor_period_s=used.period_s,
        sensor_window_s=info.sensor_window_s if used is source.profile else used.window_s,
        sensor_source=used.source,
        caveats=caveats,
    )
