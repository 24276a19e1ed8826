"""Opens what a run's `sources` ask for: the machine's GPUs and host sensors, or a simulated node in their place."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.clock import Clock, RealClock, VirtualClock
from harness.errors import SourceUnavailable, UserInputError
from harness.measure.budget import TrueEnergy
from harness.power.base import PowerSource
from harness.power.host import open_rapl
from harness.power.nvml import open_gpus
from harness.power.processes import family
from harness.power.profiles import SensorProfile, read_profile
from harness.power.sampler import ProcessSampler, Sampler, SourceFactory, VirtualSampler
from harness.records import Caveat
from harness.simulation.gpu import NodeState, SimulatedNode
from harness.simulation.nvml import installed, nvidia_smi_on_path, open_simulated_sources
from harness.specs import RunSpec, SourcesSpec
from harness.tasks.files import file_sha256

FOREIGN_LOOKS, FOREIGN_PAUSE_S = 6, 0.5
SIMULATED_HOST = "not measured: a simulated node has no CPU or DRAM meter"


@dataclass(frozen=True)
class OpenedSources:
    """The sources of one run and what goes with them.

    `gpu_uuids` are those that run the model, in index order; `node` and `truth` exist only in a simulation.
    """

    sources: tuple[PowerSource, ...]
    clock: Clock
    sampler_factory: SourceFactory
    gpu_uuids: tuple[str, ...]
    host_missing: str | None
    caveats: tuple[Caveat, ...] = ()
    node: SimulatedNode | None = None
    truth: TrueEnergy | None = None

    def sampler(self, path: Path, period_s: float) -> Sampler:
        """A sampler for these sources: a helper process, or on a virtual clock its stand-in."""
        if isinstance(self.clock, VirtualClock):
            return VirtualSampler(self.sources, self.clock, period_s)
        return ProcessSampler(self.sampler_factory, tuple(source.info.id for source in self.sources), path, period_s)


@contextmanager
def opened_sources(spec: SourcesSpec, scratch: Path | None) -> Iterator[OpenedSources]:
    """Open every source of the machine; those of `spec.gpus` are marked as running the model.

    Args:
        spec: What the run asks for.
        scratch: Where a simulated node on the real clock keeps its load log; None keeps it in memory, which
            only this process sees.

    Raises:
        UserInputError: The sensor profile cannot be read, has changed, or is that of another board; the GPU is not of
            the type asked for.
        SourceUnavailable: No driver, no such GPU, a GPU that cannot be metered.
    """
    profile = _given_profile(spec)
    with ExitStack() as stack:
        opened = _open_simulated(spec, profile, scratch, stack) if spec.node else _open_real(spec, profile)
        for source in opened.sources:
            stack.callback(source.close)
        _refuse_other_type(spec, opened.sources)
        yield opened


def _refuse_other_type(spec: SourcesSpec, sources: Sequence[PowerSource]) -> None:
    """A run that asks for a type of GPU is about that type: every word of it stands in the board's own name."""
    if spec.gpu is None:
        return
    for info in (source.info for source in sources if source.info.runs_model):
        if not _words(spec.gpu) <= _words(info.device_name):
            raise UserInputError(
                f"The config asks for a GPU of type {spec.gpu} (sources.gpu), but this one is {info.device_name}.",
                "Choose another with sources.gpus, or run where there is one. "
                "On a Ray cluster the node has a wrong label: correct the type that its `ray start` was given.",
            )


def _words(name: str) -> set[str]:
    return set(re.split(r"[\s-]+", name.casefold()))


def _given_profile(spec: SourcesSpec) -> SensorProfile | None:
    """The profile file of a spec, with the content that made the run's id."""
    if spec.sensor_profile is None:
        return None
    path = Path(spec.sensor_profile)
    profile = read_profile(path)
    if spec.sensor_profile_sha256 not in (None, file_sha256(path)):
        raise UserInputError(
            f"The sensor profile {path} has changed since the config was read.", "Start the command again."
        )
    return profile


def served_pids(spec: RunSpec) -> frozenset[int]:
    """Processes of a running server that the config names, with their children: their work is ours."""
    return family(spec.server.pids) if spec.server is not None else frozenset()


def refuse_shared(sources: Sequence[PowerSource], own_pids: frozenset[int] = frozenset()) -> None:
    """Another process on a GPU that is to run the model makes every joule ambiguous.

    Args:
        sources: All of the machine.
        own_pids: Processes that work for us, although we did not start them.

    Raises:
        SourceUnavailable: There is one.
    """
    for source in sources:
        pids = _lasting_processes(source, own_pids) if source.info.runs_model else None
        if pids:
            shown = ", ".join(map(str, pids[:5]))
            raise SourceUnavailable(
                f"Another process uses {source.info.device_name} ({source.info.id}): pid {shown}.",
                "Stop it, choose another GPU with sources.gpus, or accept mixed energy with measure.allow_shared_gpu. "
                "A running server that is to be measured is named by server.pids.",
            )


def _lasting_processes(source: PowerSource, own_pids: frozenset[int]) -> tuple[int, ...]:
    """Foreign processes that are still there after a while: the driver lists one that just ended for a moment."""

    def foreign() -> tuple[int, ...]:
        return tuple(pid for pid in source.foreign_processes() or () if pid not in own_pids)

    pids = foreign()
    for _ in range(FOREIGN_LOOKS if source.info.provenance == "measured" else 0):
        if not pids:
            break
        time.sleep(FOREIGN_PAUSE_S)
        pids = foreign()
    return pids


def _open_real(spec: SourcesSpec, profile: SensorProfile | None) -> OpenedSources:
    gpus = open_gpus(spec.gpus, "measured", RealClock(), sensor_profile=profile)
    host, missing = open_rapl()
    selected = tuple(gpu.info.id for gpu in gpus if gpu.info.runs_model)
    return OpenedSources(
        sources=(*gpus, *host),
        clock=RealClock(),
        sampler_factory=partial(_reopen_real, selected),
        gpu_uuids=selected,
        host_missing=missing,
        caveats=tuple(caveat for gpu in gpus if gpu.info.runs_model for caveat in gpu.caveats),
    )


def _reopen_real(uuids: tuple[str, ...]) -> tuple[PowerSource, ...]:
    """The same sources in another process, in the same order."""
    return (*open_gpus(uuids, "measured", RealClock()), *open_rapl()[0])


def _open_simulated(
    spec: SourcesSpec, profile: SensorProfile | None, scratch: Path | None, stack: ExitStack
) -> OpenedSources:
    assert spec.node is not None
    clock: Clock = VirtualClock() if spec.node.clock == "virtual" else RealClock()
    state = NodeState(
        gpu=spec.node.gpu,
        gpu_count=spec.node.gpu_count,
        seed=spec.node.seed,
        counter=spec.node.counter,
        start_s=clock.now_s(),
        load_path=scratch / "load.bin" if scratch is not None and isinstance(clock, RealClock) else None,
        conditions=spec.node.conditions,
        faults=spec.node.faults,
        counter_period_s=spec.node.counter_period_s,
        counter_lag_s=spec.node.counter_lag_s,
        idle_w=spec.node.idle_w,
        steady=spec.node.steady,
    )
    node = SimulatedNode(state, clock)
    stack.enter_context(installed(node))
    stack.enter_context(nvidia_smi_on_path())
    selection = tuple(_simulated_uuid(node, gpu) for gpu in spec.gpus)
    gpus = open_gpus(selection, "simulated", clock, environ={}, sensor_profile=profile)
    by_id = {gpu.info.id: node.gpu_by_uuid(gpu.info.id) for gpu in gpus}
    return OpenedSources(
        sources=gpus,
        clock=clock,
        sampler_factory=partial(open_simulated_sources, state, selection),
        gpu_uuids=tuple(gpu.info.id for gpu in gpus if gpu.info.runs_model),
        host_missing=SIMULATED_HOST,
        caveats=tuple(caveat for gpu in gpus if gpu.info.runs_model for caveat in gpu.caveats),
        node=node,
        truth=lambda source_id, start_s, end_s: by_id[source_id].true_energy_j(start_s, end_s),
    )


def _simulated_uuid(node: SimulatedNode, gpu: int | str) -> str:
    """CUDA_VISIBLE_DEVICES speaks of the real machine; a simulated node's indices are its own."""
    if isinstance(gpu, str):
        return gpu
    if not 0 <= gpu < len(node.gpus):
        raise SourceUnavailable(
            f"There is no GPU {gpu}: the simulated node has {len(node.gpus)}.", "Set sources.node.gpu_count."
        )
    return node.gpus[gpu].uuid
