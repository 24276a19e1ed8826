"""Characterises one board's sensor from start to finish: open, load, look, find, and the profile that comes of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from harness.clock import Clock, VirtualClock
from harness.errors import SourceUnavailable, UserInputError
from harness.measure.base import Progress
from harness.measure.characterize import findings_of
from harness.measure.findings import TOOL, SensorFindings, caveats_of, profile_of
from harness.power.base import PowerSource
from harness.power.nvml import NvmlSource
from harness.power.profiles import SensorProfile, read_profile, write_profile
from harness.power.sampler import ProcessSampler, Sampler, SourceFactory, VirtualSampler
from harness.records import Caveat, SourceInfo
from harness.run.load_pattern import LoadPattern, PowerAndCounter, SimulatedLoad, SquareLoad
from harness.run.sources import OpenedSources, opened_sources, refuse_shared
from harness.simulation.gpu import PUBLICATION_DELAY_S, SimulatedNode
from harness.specs import SourcesSpec

POLL_S = 0.0017  # no simple fraction of any period on record, so that looks fall at every phase of the updates
CALLS_PER_LOOK = 3.0  # looks at a slow driver leave it this many times the time that one takes
TIMED_LOOKS = 20
SHORTEST_S = 20.0  # below, the rest after the load ends before the board has settled
COUNT_IN_S = 1.0  # matrices were made and timed just before: the board's own idle first


@dataclass(frozen=True)
class Characterization:
    """What was found about one board. `own`: the simulator's values for comparison, None for a real board."""

    info: SourceInfo
    findings: SensorFindings
    profile: SensorProfile
    caveats: tuple[Caveat, ...]
    duration_s: float
    own: dict[str, float | str | None] | None


def load_on(opened: OpenedSources) -> SquareLoad:
    """What works the selected board: matrix products on a real one, the simulator's load signal on a simulated one."""
    if opened.node is not None:
        return SimulatedLoad(opened.node, opened.node.gpu_by_uuid(opened.gpu_uuids[0]).index)
    os.environ["CUDA_VISIBLE_DEVICES"] = opened.gpu_uuids[0]  # before torch looks
    from harness.engines.square_load import MatrixLoad

    return MatrixLoad(opened.clock)


def characterize(
    spec: SourcesSpec,
    duration_s: float,
    report: Callable[[Progress], None] = lambda progress: None,
    accept: Callable[[SourceInfo], None] = lambda info: None,
    load_of: Callable[[OpenedSources], SquareLoad] = load_on,
) -> Characterization:
    """Load the one selected GPU in a known pattern, watch its driver, and find its sensor's shape and timing.

    Whatever ends this early, Ctrl-C included, leaves no load and no helper process behind.

    Args:
        spec: The board; exactly one.
        duration_s: How long the pattern takes, seconds.
        report: Told each phase.
        accept: Told the board before anything is loaded; may raise.
        load_of: What works the board.

    Raises:
        UserInputError: Less time than the pattern needs.
        SourceUnavailable: No such GPU, no power reading, others use it, or PyTorch cannot load it.
        MeasurementInvalid: The readings do not follow the load.
    """
    if duration_s < SHORTEST_S:
        raise UserInputError(
            f"{duration_s:g} s are too short to characterize a sensor.",
            f"Give it --seconds {SHORTEST_S:g} or more; 60 is what the uncertainties in the manual refer to.",
        )
    with tempfile.TemporaryDirectory(prefix="harness-characterize-") as folder:
        scratch = Path(folder)
        with opened_sources(spec, scratch) as opened:
            refuse_shared(opened.sources)
            accept(next(source.info for source in opened.sources if source.info.runs_model))
            return _characterize(opened, duration_s, scratch, report, load_of)


def _characterize(
    opened: OpenedSources,
    duration_s: float,
    scratch: Path,
    report: Callable[[Progress], None],
    load_of: Callable[[OpenedSources], SquareLoad],
) -> Characterization:
    source = next(each for each in opened.sources if each.info.runs_model)
    info = source.info
    assert isinstance(source, NvmlSource)
    if source.read(slow=False).power_w is None:
        raise SourceUnavailable(
            f"{info.device_name} tells no power, so there is no power sensor to characterize.",
            "Its energy counter can be used as it is.",
        )
    report(Progress("prepare the load", left_s=duration_s))
    load = load_of(opened)
    try:
        if opened.node is None:
            opened.clock.sleep_s(COUNT_IN_S)
        sampler = _sampler(opened, source, scratch)
        pattern = LoadPattern(opened.clock, load, sampler, info.id, duration_s, report)
        recording, fit = pattern.run()
    finally:
        load.close()
    findings = findings_of(recording, fit)
    today = datetime.now(UTC).date().isoformat()
    return Characterization(
        info=info,
        findings=findings,
        profile=profile_of(findings, info, source.nvml_field, duration_s, today),
        caveats=(*caveats_of(findings, recording.has_counter), *source.caveats),
        duration_s=duration_s,
        own=_own_values(opened.node, info) if opened.node else None,
    )


def _sampler(opened: OpenedSources, source: PowerSource, scratch: Path) -> Sampler:
    """Looks at power and counter of this board alone, as fast as its driver answers without being kept busy."""
    if isinstance(opened.clock, VirtualClock):
        return VirtualSampler((PowerAndCounter(source),), opened.clock, POLL_S)
    factory = partial(_reopened, opened.sampler_factory, source.info.id)
    period_s = max(POLL_S, CALLS_PER_LOOK * _look_s(source, opened.clock))
    return ProcessSampler(factory, (source.info.id,), scratch / "looks.bin", period_s)


def _look_s(source: PowerSource, clock: Clock) -> float:
    """What one look takes, seconds."""
    look = PowerAndCounter(source)
    start_s = clock.now_s()
    for _ in range(TIMED_LOOKS):
        look.read()
    return (clock.now_s() - start_s) / TIMED_LOOKS


def _reopened(factory: SourceFactory, source_id: str) -> Sequence[PowerSource]:
    """The one board in another process; its neighbours are closed again."""
    kept: list[PowerSource] = []
    for source in factory():
        if source.info.id == source_id:
            kept.append(PowerAndCounter(source))
        else:
            source.close()
    return kept


def _own_values(node: SimulatedNode, info: SourceInfo) -> dict[str, float | str | None]:
    """What the simulator was told to do: the right answers, never looked at before."""
    gpu, state = node.gpu_by_uuid(info.id), node.state
    sensor = gpu.profile.sensor
    has_counter = gpu.has_counter
    return {
        "update_period_s": sensor.period_s,
        "kernel": sensor.kernel,
        "window_s": sensor.window_s,
        "tau_s": sensor.tau_s if sensor.kernel == "first_order" else None,
        "mean_of": sensor.mean_of,
        "delay_s": PUBLICATION_DELAY_S,
        "counter_step_j": sensor.counter_step_j if has_counter else None,
        "counter_period_s": (state.counter_period_s or sensor.counter_period_s or sensor.period_s)
        if has_counter
        else None,
        "counter_integrates": {"sensor": "readings", "truth": "power"}[state.counter] if has_counter else None,
    }


# --- the file -------------------------------------------------------------------------------------------


def check_destination(path: Path) -> None:
    """See that the profile can be written, before a minute is spent on it.

    Raises:
        UserInputError: There is no such folder, it cannot be written, or the file is not one of ours.
    """
    if not path.parent.is_dir():
        raise UserInputError(f"There is no folder {path.parent}.", "Create it, or give another --out.")
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise UserInputError(f"The profile {path} must be a .yaml file.", "Give --out another name.")
    if path.exists() and not _is_ours(path):
        raise UserInputError(
            f"{path} exists and was not written by {TOOL}; it is left as it is.", "Give another --out."
        )
    if not os.access(path.parent, os.W_OK):
        raise UserInputError(f"The folder {path.parent} cannot be written.", "Give another --out.")


def _is_ours(path: Path) -> bool:
    try:
        return read_profile(path).source.startswith(TOOL)
    except UserInputError:
        return False


def write_whole(profile: SensorProfile, path: Path) -> None:
    """Write the profile beside its place and move it there: the file is whole, or is not there.

    Raises:
        UserInputError: It cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write_profile(profile, beside)
        os.replace(beside, path)
    except OSError as error:
        raise UserInputError(f"Cannot write {path}: {error.strerror or error}.", "Choose another path.") from error
    finally:
        beside.unlink(missing_ok=True)
