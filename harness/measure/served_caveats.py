"""What makes a served window, or a served run, weaker than it looks. Pure; the same rules for both."""

from __future__ import annotations

import math

from harness.records import Caveat
from harness.served_records import Served

KEPT_FRACTION = 0.95  # of the load that was asked for
QUEUE_SD = 3.0  # Poisson standard deviations of the requests sent, beyond which a queue grows
PIECES_PER_TOKEN = 0.95  # below it, the time between pieces is not that between tokens
BUSY_CLIENT = 0.7  # of a core, which is all that threads of one Python share
LATE_FRACTION = 0.1  # of the median time to first token: how late the harness itself may send


def served_caveats(served: Served) -> tuple[Caveat, ...]:
    """Every doubt about what was asked, sent and answered."""
    found = [
        _failed(served),
        _not_kept(served),
        _rate(served),
        _queue(served),
        _late(served),
        _busy_client(served),
        _lengths(served),
        _usage(served),
        _contradiction(served),
        _cached(served),
        _pieces(served),
        _reasoning(served),
        _short(served),
    ]
    return tuple(caveat for caveat in found if caveat is not None)


def reasons_text(failed: dict[str, int]) -> str:
    """3 x http-429, 1 x closed-midway."""
    return ", ".join(f"{count} x {reason}" for reason, count in failed.items())


def _failed(served: Served) -> Caveat | None:
    around = [phase for phase in (served.ramp_up, served.drain) if phase is not None and phase.attempts_failed]
    if not served.attempts_failed and not around and served.failed_fraction == 0 and served.retry_wait_s == 0:
        return None
    inside = reasons_text(served.attempts_failed) or "none"
    beside = sum(sum(phase.attempts_failed.values()) for phase in around)
    return Caveat(
        code="requests-failed",
        message=f"Attempts that failed in the window: {inside}; {served.attempts_retried} were tried again, "
        f"{served.requests_given_up} requests given up; {beside} failed while the load came on or went off. What they "
        f"drew is left out of the figure and kept apart: {energy_text(served.failed_energy_j)} in flight, estimated by "
        f"their {served.failed_fraction:.1%} of the time in flight (known to within ±100 % of itself), and "
        f"{energy_text(served.retry_wait_energy_j)} in {served.retry_wait_s:.3g} s of waits with nothing in flight, at "
        "idle power (more if the server went on with what had failed). A wait while others are in flight draws "
        "nothing of its own; that fewer were answered at once is in the figure.",
    )


def energy_text(energy_j: float | None) -> str:
    """4.2 J, or that it is not measured."""
    return "energy not measured" if energy_j is None else f"{energy_j:.4g} J"


def _not_kept(served: Served) -> Caveat | None:
    asked = served.asked_concurrency
    if asked is None or (served.reached and served.mean_in_flight >= KEPT_FRACTION * asked):
        return None
    return Caveat(
        code="concurrency-not-kept",
        message=f"{served.mean_in_flight:.3g} requests were in flight on average, {asked} were asked for.",
    )


def _rate(served: Served) -> Caveat | None:
    if served.asked_rate_hz is None or not served.requests_not_sent:
        return None
    due = served.requests_sent + served.requests_not_sent
    return Caveat(
        code="rate-not-reached",
        message=f"{served.requests_not_sent} of {due} arrivals were not sent, because max_in_flight requests waited "
        f"already: {served.sent_rate_hz:.3g} per second were sent, {served.asked_rate_hz:.3g} asked for.",
    )


def _queue(served: Served) -> Caveat | None:
    if served.asked_rate_hz is None:
        return None
    growth = served.in_flight_growth
    if growth <= QUEUE_SD * math.sqrt(max(1, served.requests_sent)) and served.reached:
        return None
    return Caveat(
        code="queue-grew",
        message=f"{served.sent_rate_hz:.3g} requests per second came and {served.answered_rate_hz:.3g} were answered: "
        f"{growth} more were in flight at the end. The server is not steady at this rate.",
    )


def _late(served: Served) -> Caveat | None:
    if served.late is None or served.ttft is None or served.late.p90_s <= LATE_FRACTION * served.ttft.p50_s:
        return None
    return Caveat(
        code="sent-late",
        message=f"The harness sent one request in ten more than {served.late.p90_s * 1000:.3g} ms late, which is in "
        "the times to the first token: this machine is too busy for this rate.",
    )


def _busy_client(served: Served) -> Caveat | None:
    if served.own_cpu_fraction is None or served.own_cpu_fraction <= BUSY_CLIENT:
        return None
    return Caveat(
        code="client-busy",
        message=f"Sending and reading took {served.own_cpu_fraction:.0%} of a core, and the harness has no more than "
        "one for it: the server may have waited for it, and times between pieces may be too long.",
    )


def _lengths(served: Served) -> Caveat | None:
    if not served.fewer_tokens and not served.more_tokens:
        return None
    mean = served.output_tokens / served.requests_in_part if served.requests_in_part else 0.0
    more = f" and {served.more_tokens} with more" if served.more_tokens else ""
    return Caveat(
        code="other-length",
        message=f"{served.fewer_tokens} of {served.requests_answered} answers came with fewer output tokens than asked "
        f"for{more} ({mean:.3g} on average): energy per generation is that of shorter or longer answers.",
    )


def _usage(served: Served) -> Caveat | None:
    if not served.without_usage:
        return None
    return Caveat(
        code="no-usage",
        message=f"{served.without_usage} of {served.requests_answered} answers came without usage: their output tokens "
        "are the pieces that were counted, which may be too few, and their input tokens are not known.",
    )


def _contradiction(served: Served) -> Caveat | None:
    if not served.contradicting_usage and not served.fewer_than_pieces:
        return None
    told = []
    if served.contradicting_usage:
        told.append(
            f"{served.contradicting_usage} of {served.requests_answered} answers state in usage what cannot be: "
            "output tokens that are none though some came, more than asked for or than pieces and time bear out, fewer "
            "than of their reasoning, or no count (then the pieces were counted); or input tokens that are none, more "
            "than the request has bytes, fewer than cached, or no count (then the input is taken as not told)."
        )
    if served.fewer_than_pieces:
        told.append(
            f"{served.fewer_than_pieces} of {served.requests_answered} answers state fewer output tokens than pieces "
            "came: tokens are counted by usage, and the time between pieces is shorter than between tokens."
        )
    return Caveat(code="usage-contradicts", message=" ".join(told))


def _cached(served: Served) -> Caveat | None:
    if not served.cached_tokens:
        return None
    of = "" if served.input_tokens is None else f" of {served.input_tokens}"
    return Caveat(
        code="prefix-cached",
        message=f"At least {served.cached_tokens}{of} input tokens came from the server's prefix cache: reading a new "
        "prompt costs more. Switch it off at the server (vLLM: --no-enable-prefix-caching).",
    )


def _pieces(served: Served) -> Caveat | None:
    if served.without_usage or served.pieces >= PIECES_PER_TOKEN * served.output_tokens:
        return None
    return Caveat(
        code="pieces-not-tokens",
        message=f"{served.output_tokens:.4g} tokens came in {served.pieces} pieces: the time between pieces is longer "
        "than between tokens.",
    )


def _reasoning(served: Served) -> Caveat | None:
    if not served.reasoning_by_pieces:
        return None
    return Caveat(
        code="reasoning-by-pieces",
        message="The server marks reasoning but does not count its tokens: they are taken by the share of the pieces.",
    )


def _short(served: Served) -> Caveat | None:
    if served.latency is None and served.requests_in_part > 0:
        return Caveat(
            code="window-shorter-than-answers", message="No answer ended inside the window: lengthen window_s."
        )
    return None
