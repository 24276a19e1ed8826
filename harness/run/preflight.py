"""What is looked at before anything runs: servers, datasets, sources, and whether runs may be in flight together."""

from __future__ import annotations

from collections.abc import Sequence

from harness.engines.server import refuse_elsewhere
from harness.run.sources import opened_sources, refuse_shared, served_pids
from harness.specs import RunSpec, SourcesSpec
from harness.tasks.hub import check_prompts


def preflight(specs: Sequence[RunSpec]) -> dict[SourcesSpec, tuple[str, ...]]:
    """See that every dataset is there, and open each kind of source, before anything runs.

    Returns:
        UUIDs of the GPUs that run the model, for every kind of source.

    Raises:
        UserInputError: A server is on another machine.
        ModelUnavailable: A dataset of the hub cannot be had.
        SourceUnavailable: With what to do; exit code 2.
    """
    for server in (spec.server for spec in specs if spec.server is not None):
        if server.base_url is not None:
            refuse_elsewhere(server.base_url, server.sources_host)
    for prompts in dict.fromkeys(spec.prompts for spec in specs if spec.replay is None):
        check_prompts(prompts)
    seen: dict[SourcesSpec, bool] = {}
    for spec in specs:
        seen[spec.sources] = seen.get(spec.sources, True) and spec.measure.allow_shared_gpu
    gpus: dict[SourcesSpec, tuple[str, ...]] = {}
    for sources, shared_allowed in seen.items():
        with opened_sources(sources, None) as opened:
            gpus[sources] = opened.gpu_uuids
            if not shared_allowed:
                refuse_shared(opened.sources, frozenset().union(*map(served_pids, specs)))
    return gpus
