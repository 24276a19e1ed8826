"""How a campaign is run: its order, what is tried again, where a run stood in it. Part of configs, records, manifests.

None of it changes what a run measures, so none of it is part of a run_id.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from harness.frozen import FolderName, Frozen

Order = Literal["interleaved", "as-written"]


class Retry(Frozen):
    """What is tried again at once. All other failures are tried again only by the next start."""

    halve_batch: bool = Field(
        False, description="a batch that does not fit into memory is measured at half its size instead, once"
    )
    driver: Annotated[int, Field(ge=0, le=10)] = Field(
        1, description="further attempts at a run in which a power source could not be read"
    )


class CampaignOptions(Frozen):
    """What a config says about the campaign as a whole."""

    order: Order = Field("interleaved", description="interleaved: drift of the machine falls on all models alike")
    order_seed: int = 0
    retry: Retry = Retry()
    calibration: bool = Field(
        False, description="fixed loads on every board at each start, so that compare can tell boards from models"
    )


class Scheduled(Frozen):
    """Where a run stood in its campaign, and what went before it."""

    order: Order
    order_seed: int
    position: int = Field(description="this was the so-many-th run of its start, from 1")
    attempt: int = Field(1, description="of this start, from 1")
    earlier: tuple[str, ...] = Field((), description="why each attempt before this one failed")
    halved_from: FolderName | None = Field(None, description="run that ran out of memory at twice this batch size")
    halved_as: FolderName | None = Field(
        None, description="of a run that ran out of memory: what is measured in its place"
    )
    beside: tuple[str, ...] = Field((), description="runs that other GPUs of the machine worked on meanwhile")


class Placed(Frozen):
    """On which node of a cluster a run was made, and which ones it was lost with before."""

    cluster: str = Field(description="what placed it, with its version")
    node: str = Field(description="the cluster's id of the node; its machine is in the environment")
    lost: tuple[str, ...] = Field((), description="why each placement before this one came to nothing")
    beside: tuple[str, ...] = Field(
        (),
        description="runs that other GPUs of the node worked on meanwhile; CAMPAIGN/RUN_ID where of another campaign",
    )
