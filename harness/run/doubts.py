"""What to doubt of a run beside its windows: who shared its GPUs, how many inputs there were, what other tools said."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.engines.base import Loadable
from harness.engines.openai import OpenAIEngine
from harness.measure.session import SessionResult
from harness.records import Caveat, Measurement
from harness.run.sources import OpenedSources
from harness.served_records import Served
from harness.specs import RunSpec


def of_prompts(spec: RunSpec, prompt_count: int, served: Served | None = None) -> list[Caveat]:
    """Fewer different inputs than are answered at once; in an open loop, than were in flight on average."""
    at_once = spec.batch_size if spec.server is None else spec.server.concurrency
    if at_once is None:
        at_once = 0 if served is None else math.ceil(served.mean_in_flight)
    if spec.replay is not None or at_once <= prompt_count:
        return []
    where = "one batch" if spec.server is None else "what is in flight"
    told = (
        f"The set has {prompt_count} prompt{'s' if prompt_count > 1 else ''}, and {at_once} are answered at once: they "
        f"come round again inside {where}. The work is counted as {at_once} requests, but it is of less variety, and "
        "what keeps answers or prefixes saves some of it. Give more prompts, or ask for fewer at once."
    )
    return [Caveat(code="prompts-repeat", message=told)]


def of_cuts(measurements: Sequence[Measurement]) -> list[Caveat]:
    """Texts that the model could not take whole, in windows that count."""
    work = [window.work for window in measurements if not window.rejected]
    cut, requests = sum(each.inputs_cut or 0 for each in work), math.fsum(each.requests for each in work)
    if not cut:
        return []
    told = (
        f"{cut} of {requests:.0f} requests were longer than the model takes and were cut to its own limit: the energy "
        "is that of the shorter text. Set text.max_input_tokens or prompts.max_words to say how long they shall be."
    )
    return [Caveat(code="inputs-cut", message=told)]


def of_weights(spec: RunSpec) -> list[Caveat]:
    """A model of zeros multiplies nothing: its power is a check, and nobody's model draws it."""
    if spec.model.weights != "zeros" or spec.engine == "simulated":
        return []
    told = "Every weight is zero: this shows how much the values of weights matter, and is no model's energy."
    return [Caveat(code="constant-weights", message=told)]


def of_engine(opened: OpenedSources, engine: Loadable) -> list[Caveat]:
    """The server's own, and who else used the GPUs."""
    if isinstance(engine, OpenAIEngine):
        return [*engine.caveats, *_shared_gpu(opened, engine.pids())]
    return _shared_gpu(opened, frozenset())


def _shared_gpu(opened: OpenedSources, own_pids: frozenset[int]) -> list[Caveat]:
    """Others on the machine's GPUs, as far as that can be told: their energy is in the figures."""
    found = []
    for source in opened.sources:
        pids, name = source.foreign_processes(), source.info.device_name
        pids = tuple(pid for pid in pids if pid not in own_pids) if pids else pids
        shown = ", ".join(map(str, (pids or ())[:5]))
        if pids is None and source.info.runs_model and source.info.kind == "gpu":
            told = f"Whether other processes use {name} cannot be told here (hidden process ids, as in containers)."
            found.append(Caveat(code="sharing-unknown", message=told))
        elif pids and source.info.runs_model:
            told = f"Other processes used {name}, and their energy is included: {shown}."
            found.append(Caveat(code="shared-gpu", message=told))
        elif pids:
            told = f"Other processes used {name} beside the run (pid {shown}): the node's energy includes theirs."
            found.append(Caveat(code="node-shared", message=told))
    return found


def of_references(result: SessionResult) -> list[Caveat]:
    """What other tools said of their own readings, each once."""
    return list(dict.fromkeys(c for window in result.references for reading in window for c in reading.caveats))
