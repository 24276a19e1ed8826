"""What a record says of a served model: its server, its requests, and how long they took."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.frozen import Frozen


class Percentiles(Frozen):
    """How long something took, seconds."""

    count: int
    mean_s: float
    p50_s: float
    p90_s: float
    p99_s: float


class ServedPhase(Frozen):
    """Before or after a served window, or a load that failed: what the GPUs that ran the model drew, and what came."""

    duration_s: float
    energy_j: float | None = Field(description="gross; None where it could not be read")
    uncertainty_j: float | None
    true_energy_j: float | None = Field(None, description="known only when simulated")
    output_tokens: float
    attempts_failed: dict[str, int]


class Served(Frozen):
    """What a server did in a window, or in all accepted windows of a run. What counts where: measure/served.py."""

    loop: Literal["closed", "open"]
    asked_concurrency: int | None
    asked_rate_hz: float | None
    reached: bool = Field(description="the load asked for was on before the window opened")
    duration_s: float
    requests_sent: int = Field(description="first attempts that were sent inside")
    requests_answered: int = Field(description="that ended well inside")
    requests_in_part: float = Field(description="answered ones, each by the share of its tokens that came inside")
    requests_given_up: int = Field(description="whose last attempt failed inside")
    requests_not_sent: int = Field(description="open loop: arrivals beyond max_in_flight")
    attempts_failed: dict[str, int] = Field(description="that ended inside, by reason")
    attempts_retried: int = Field(description="of those, that were tried again")
    fewer_tokens: int = Field(description="answered inside with fewer output tokens than asked for")
    more_tokens: int
    without_usage: int = Field(description="answered inside without usage: their tokens are counted by pieces")
    contradicting_usage: int | None = Field(
        0, description="answered inside with one that cannot be: by pieces, or no input; None: not looked at"
    )
    fewer_than_pieces: int | None = Field(
        0, description="answered inside with fewer tokens, as told, than pieces came; None: not looked at"
    )
    input_tokens: int | None = Field(description="of answers whose first token came inside; None: not told for all")
    cached_tokens: int | None = Field(
        None, description="part of them that the server had in its prefix cache, at least; None: no answer tells"
    )
    output_tokens: float = Field(description="that came inside, of answered requests, reasoning included")
    reasoning_tokens: float | None = Field(description="part of output_tokens; None where none was told")
    reasoning_by_pieces: bool = Field(False, description="reasoning_tokens is by share of the pieces, not told")
    pieces: int = Field(description="pieces with content that came inside, of answered requests")
    mean_in_flight: float
    in_flight_growth: int = Field(description="in flight at the end less at the start")
    sent_rate_hz: float
    answered_rate_hz: float
    ttft: Percentiles | None = Field(
        description="time to first token of answered requests, from when due: failed attempts are in it"
    )
    inter_token: Percentiles | None = Field(description="between two pieces of an answer")
    latency: Percentiles | None = Field(description="of answered requests, from when due (as ttft) to the last byte")
    late: Percentiles | None = Field(None, description="open loop: from when a request was due to its sending")
    failed_fraction: float = Field(description="share of the time in flight that was of attempts that failed")
    failed_energy_j: float | None = Field(None, description="that share of the GPUs' energy: an estimate")
    retry_wait_s: float | None = Field(
        0.0,
        description="time in which nothing was in flight since a failed request was not sent again yet; "
        "None: not set apart, so that what was drawn in it is in the figure",
    )
    retry_wait_energy_j: float | None = Field(
        None, description="of the GPUs in that time, at their idle power: beside failed_energy_j, not in the figure"
    )
    own_cpu_fraction: float | None = Field(
        None, description="of one core, taken by the harness to send and read; of a run: in its busiest window"
    )
    ramp_up: ServedPhase | None = None
    drain: ServedPhase | None = None
    all_attempts: int | None = Field(None, description="of a run: warm-up, ramps and drains included")
    all_failed: dict[str, int] | None = Field(None, description="of those, by reason")


class Attempts(Frozen):
    """Everything that was sent to a server in a run that failed, warm-up, ramps and drains included."""

    sent: int
    failed: dict[str, int] = Field(description="of those, by reason")
    last_load: ServedPhase | None = Field(
        None, description="the load that failed, from its first request to the end of its last; in no window"
    )
    windows: Served | None = Field(None, description="what happened in the windows that were kept, rejected ones too")


class ServerInfo(Frozen):
    """The server as it answered."""

    base_url: str
    started: bool = Field(description="by the harness")
    product: str | None = Field(None, description="what it calls itself")
    models: tuple[str, ...] = ()
    ready_s: float | None = Field(None, description="from its start to the first healthy answer")
