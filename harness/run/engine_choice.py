"""Which engine answers a run, and what only that engine knows. Heavy libraries are loaded here, by name, on demand."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness.engines.base import Engine, Loadable
from harness.engines.openai import OpenAIEngine
from harness.engines.replay import ReplayEngine
from harness.engines.simulated import LoadingEngine, SimulatedEngine, load_gpus
from harness.run.sources import OpenedSources
from harness.simulation.costs import utilisation_of
from harness.specs import RunSpec
from harness.tasks.base import Request


def engine_of(spec: RunSpec, opened: OpenedSources, scratch: Path) -> Engine | OpenAIEngine:
    """The engine by name; on a simulated node it drives the simulated GPU's load."""
    if spec.engine == "openai":
        return _served_engine(spec, opened, scratch)
    if spec.engine == "simulated":
        assert opened.node is not None
        if spec.replay is not None:
            return ReplayEngine(spec, spec.replay, opened.node, _indices(opened)[0])
        return SimulatedEngine(spec, opened.node, _indices(opened))
    if opened.node is None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(opened.gpu_uuids)
    else:
        # One thread leaves the other cores to the sampler and to whatever else a CI machine runs; threads that wait
        # for each other on busy cores make the timing of small models worthless.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    engine: Engine
    if spec.engine == "transformers":
        from harness.engines.transformers import TransformersEngine

        engine = TransformersEngine(spec)
    elif spec.engine == "calibration":
        from harness.engines.calibration import CalibrationEngine

        engine = CalibrationEngine(spec)
    else:
        from harness.engines.diffusers import DiffusersEngine

        engine = DiffusersEngine(spec)
    return engine if opened.node is None else LoadingEngine(engine, opened.node, _indices(opened))


def _served_engine(spec: RunSpec, opened: OpenedSources, scratch: Path) -> OpenAIEngine:
    """A server; on a simulated node the requests in flight are the board's load, as a batch of so many would be."""
    node = opened.node
    if node is None:
        return OpenAIEngine(spec, scratch, opened.clock, opened.gpu_uuids, lambda count: None)
    indices = _indices(opened)

    def loaded(count: int) -> None:
        load_gpus(node, indices, utilisation_of(count) if count else 0.0)

    return OpenAIEngine(spec, scratch, opened.clock, (), loaded)


def cuda_version_of(spec: RunSpec) -> str | None:
    """CUDA version that the run's own torch was built for; None where it has none."""
    if spec.engine in ("simulated", "openai"):  # a server's CUDA is its own
        return None
    from harness.engines.loading import cuda_version

    return cuda_version()


def template_of(spec: RunSpec, engine: Loadable) -> str | None:
    """In which words a general model was asked; None: requests were put as they are, or no model was asked."""
    if spec.engine != "transformers":
        return None
    from harness.engines.transformers import TransformersEngine

    inner = engine.inner if isinstance(engine, LoadingEngine) else engine
    return inner.template if isinstance(inner, TransformersEngine) else None


def _indices(opened: OpenedSources) -> tuple[int, ...]:
    assert opened.node is not None
    return tuple(opened.node.gpu_by_uuid(uuid).index for uuid in opened.gpu_uuids)


def save_images(spec: RunSpec, engine: Loadable, requests: Sequence[Request], scratch: Path) -> None:
    """One extra batch after all metering, so that a person can see what was generated."""
    if spec.image is None or not spec.image.save_images:
        return
    inner = engine.inner if isinstance(engine, LoadingEngine) else engine
    from harness.engines.diffusers import DiffusersEngine

    if isinstance(inner, DiffusersEngine):
        inner.save_images(inner.prepare(requests[: spec.batch_size]), scratch / "images")
