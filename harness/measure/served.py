"""What a server did between two instants, from every attempt that was sent to it. Pure.

What counts where:

- An *attempt* is one HTTP request; a *request* is what was asked, with up to `retries` further attempts.
- Output tokens belong to the window in which they arrived. A server's pieces may hold several tokens, or hold some
  back; the tokens it states in `usage` are spread evenly over the answer's pieces. What `usage` cannot mean is not
  believed: pieces came and it states no token, or more than were asked for although neither the pieces nor the time
  bear that out, or no count at all. Such an answer counts by its pieces, as one without `usage` does, and is itself
  counted (`contradicting_usage`). So is one whose input cannot be; its input tokens are not known.
- A request counts by the share of its tokens that arrived inside: one that began before the window, or ended after
  it, counts in part (`requests_in_part`, which is what energy per generation is divided by).
- Input tokens belong to the window in which the first token of the answer arrived.
- Only attempts that ended well, then or later, count so. Of all others the share of the time in flight is theirs
  (`failed_fraction`): the estimate of what they drew, which is kept apart.
- A failure also makes the harness wait before it asks again. Where other requests are in flight meanwhile, the board
  works for them alone, and a wait takes nothing. Where none is, the time is the failure's (`waits_s`): kept apart too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.records import WorkCounts
from harness.served_records import Percentiles, Served
from harness.serving import ServerOptions

MOST_TOKENS_PER_S = 5000  # of one answer: five times the 1,000 that NVIDIA told of DGX B200 (technical blog, May 2025)
MOST_TOKENS_PER_PIECE = 16  # of an answer longer than asked for: several draft tokens may be taken over at once
MOST_TEMPLATE_TOKENS = 4096  # what a server may write around a prompt: a chat template with its system prompt
Span = tuple[float, float]


@dataclass
class Attempt:
    """One request as it was sent once; times on the monotonic clock. Filled in while the answer comes.

    `due_s`: when it should have been sent (open loop: as drawn). `pieces_s`: arrivals of pieces with content.
    `failure`: why it has no whole answer; None while it is in flight or once it ended well. `input_tokens` and those
    after it are as the server states them, `cached_tokens` as part of the input; `no_counts` names those of them that
    it sent and that are no counts (negative, with a fraction). `asked_tokens`: most that may come. `sent_bytes`: of
    the request. `waited_s`: until when nothing was sent in its place because of its failure.
    """

    due_s: float
    sent_s: float
    first: bool = True
    pieces_s: list[float] = field(default_factory=list)
    reasoning_pieces: int = 0
    ended_s: float | None = None
    failure: str | None = None
    retried: bool = False
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    no_counts: set[str] = field(default_factory=set)
    asked_tokens: int | None = None
    sent_bytes: int | None = None
    waited_s: float | None = None

    @property
    def ok(self) -> bool:
        """Answered to the end."""
        return self.ended_s is not None and self.failure is None

    @property
    def usage_contradicts(self) -> bool:
        """The server states output tokens that cannot be: none with pieces, too many, fewer than reasoned, no count."""
        told, reasoned = self.output_tokens, self.reasoning_tokens or 0
        if self.no_counts & {"output_tokens", "reasoning_tokens"}:
            return True
        if told is None or not self.pieces_s:
            return False
        return told == 0 or reasoned > told or self._too_many(told, reasoned)

    def _too_many(self, told: int, reasoned: int) -> bool:
        """More than asked for, and neither the pieces nor the time bear it out; a limit may not bound the reasoning."""
        asked, pieces = self.asked_tokens, len(self.pieces_s)
        if asked is None or told <= asked:
            return False
        took_s = (self.pieces_s[-1] if self.ended_s is None else self.ended_s) - self.sent_s
        borne_out = asked if pieces <= asked else pieces * MOST_TOKENS_PER_PIECE
        return told - reasoned > borne_out or told > MOST_TOKENS_PER_S * took_s

    @property
    def input_contradicts(self) -> bool:
        """The server states input tokens that cannot be: none, more than the request has bytes, fewer than cached."""
        told, cached = self.input_tokens, self.cached_tokens or 0
        if self.no_counts & {"input_tokens", "cached_tokens"} or told == 0:
            return True
        over = self.sent_bytes is not None and max(told or 0, cached) > self.sent_bytes + MOST_TEMPLATE_TOKENS
        return over or (told is not None and cached > told)

    @property
    def tokens(self) -> int:
        """Output tokens as the server states them; where it does not, or not credibly, one for each piece."""
        return len(self.pieces_s) if self.output_tokens is None or self.usage_contradicts else self.output_tokens

    @property
    def told_reasoning(self) -> int | None:
        """Reasoning tokens as the server states them; None where it does not, or not credibly."""
        told = self.reasoning_tokens
        return None if told is None or self.usage_contradicts or told > self.tokens else told

    @property
    def told_input(self) -> int | None:
        """Input tokens as the server states them; None where it does not, or not credibly."""
        return None if self.input_contradicts else self.input_tokens

    @property
    def told_cached(self) -> int | None:
        """Input tokens from its prefix cache as the server states them; None where it does not, or not credibly."""
        return None if self.input_contradicts else self.cached_tokens

    @property
    def without_usage(self) -> bool:
        """The server says nothing of output tokens: not even what cannot be."""
        return self.output_tokens is None and "output_tokens" not in self.no_counts

    def ended_inside(self, start_s: float, end_s: float) -> bool:
        """Ended, well or not, in [start, end)."""
        return self.ended_s is not None and start_s <= self.ended_s < end_s

    def overlap_s(self, start_s: float, end_s: float) -> float:
        """Time in flight inside."""
        until_s = end_s if self.ended_s is None else min(end_s, self.ended_s)
        return max(0.0, until_s - max(start_s, self.sent_s))

    def share(self, start_s: float, end_s: float) -> float:
        """Share of the pieces that came inside."""
        inside = sum(start_s <= at_s < end_s for at_s in self.pieces_s)
        return inside / len(self.pieces_s) if self.pieces_s else 0.0


@dataclass(frozen=True)
class Account:
    """One window: what is stored of it, the work that energy is divided by, and the times that a run pools.

    `loaded_s`: the parts of it in which anything was in flight. `waits_s`: those in which nothing was, because a
    request had failed and was not sent again yet.
    """

    served: Served
    work: WorkCounts
    ttft_s: tuple[float, ...]
    inter_token_s: tuple[float, ...]
    latency_s: tuple[float, ...]
    late_s: tuple[float, ...]
    loaded_s: tuple[Span, ...] = ()
    waits_s: tuple[Span, ...] = ()


def account(
    attempts: Sequence[Attempt],
    not_sent_s: Sequence[float],
    start_s: float,
    end_s: float,
    options: ServerOptions,
    new_tokens: int,
    reached: bool = True,
) -> Account:
    """What happened in [start, end).

    Args:
        attempts: All that may have been in flight then; those still in flight count as failed.
        not_sent_s: When arrivals were due that were not sent.
        start_s: Begin of the window, monotonic.
        end_s: Its end.
        options: The load that was asked for.
        new_tokens: Output tokens that every request asked for.
        reached: The load was on when the window opened.
    """
    loaded_s, waits_s = _loaded_and_waits(attempts, start_s, end_s)
    duration_s = max(end_s - start_s, 1e-9)  # a drain with nothing in flight takes no time
    good = [a for a in attempts if a.ok]
    ended = [a for a in attempts if a.ended_inside(start_s, end_s)]
    answered, failed = [a for a in ended if a.ok], [a for a in ended if not a.ok]
    started = [a for a in good if a.pieces_s and start_s <= a.pieces_s[0] < end_s]
    shares = [(a, a.share(start_s, end_s)) for a in good]
    in_part = math.fsum(share for _, share in shares)
    output_tokens = math.fsum(a.tokens * share for a, share in shares)
    in_flight_s = math.fsum(a.overlap_s(start_s, end_s) for a in attempts)
    failed_s = math.fsum(a.overlap_s(start_s, end_s) for a in attempts if not a.ok)
    sent = sum(start_s <= a.sent_s < end_s for a in attempts if a.first)
    told_inputs = [a.told_input for a in started]
    cached = [tokens for a in started if (tokens := a.told_cached) is not None]
    known_inputs = [tokens for tokens in told_inputs if tokens is not None]
    input_tokens = sum(known_inputs) if len(known_inputs) == len(told_inputs) else None
    reasoning, by_pieces = _reasoning(shares)
    ttft_s = tuple(a.pieces_s[0] - a.due_s for a in started)
    inter_token_s = tuple(
        later - earlier
        for a in good
        for earlier, later in zip(a.pieces_s, a.pieces_s[1:], strict=False)
        if start_s <= later < end_s
    )
    latency_s = tuple(a.ended_s - a.due_s for a in answered if a.ended_s is not None)
    is_open = options.request_rate_hz is not None
    late_s = tuple(a.sent_s - a.due_s for a in attempts if is_open and a.first and start_s <= a.sent_s < end_s)
    served = Served(
        loop="open" if is_open else "closed",
        asked_concurrency=options.concurrency,
        asked_rate_hz=options.request_rate_hz,
        reached=reached,
        duration_s=duration_s,
        requests_sent=sent,
        requests_answered=len(answered),
        requests_in_part=in_part,
        requests_given_up=sum(not a.retried for a in failed),
        requests_not_sent=sum(start_s <= due_s < end_s for due_s in not_sent_s),
        attempts_failed=reasons(failed),
        attempts_retried=sum(a.retried for a in failed),
        fewer_tokens=sum(a.tokens < new_tokens for a in answered),
        more_tokens=sum(a.tokens > new_tokens for a in answered),
        without_usage=sum(a.without_usage for a in answered),
        contradicting_usage=sum(a.usage_contradicts or a.input_contradicts for a in answered),
        fewer_than_pieces=sum(0 < a.tokens < len(a.pieces_s) for a in answered),
        input_tokens=input_tokens,
        cached_tokens=sum(cached) if cached else None,
        output_tokens=output_tokens,
        reasoning_tokens=reasoning,
        reasoning_by_pieces=by_pieces,
        pieces=sum(round(share * len(a.pieces_s)) for a, share in shares),
        mean_in_flight=in_flight_s / duration_s,
        in_flight_growth=_in_flight(attempts, end_s) - _in_flight(attempts, start_s),
        sent_rate_hz=sent / duration_s,
        answered_rate_hz=len(answered) / duration_s,
        ttft=percentiles(ttft_s),
        inter_token=percentiles(inter_token_s),
        latency=percentiles(latency_s),
        late=percentiles(late_s),
        failed_fraction=failed_s / in_flight_s if in_flight_s > 0 else 0.0,
        failed_energy_j=None,
        retry_wait_s=math.fsum(until_s - from_s for from_s, until_s in waits_s),
    )
    work = WorkCounts(requests=in_part, input_tokens=input_tokens, output_tokens=round(output_tokens))
    return Account(served, work, ttft_s, inter_token_s, latency_s, late_s, loaded_s, waits_s)


def _loaded_and_waits(
    attempts: Sequence[Attempt], start_s: float, end_s: float
) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """When anything was in flight in [start, end), and when nothing was because failures had made requests wait."""
    flights = [(a.sent_s, end_s if a.ended_s is None else a.ended_s) for a in attempts]
    waits = [(a.ended_s, a.waited_s) for a in attempts if a.ended_s is not None and a.waited_s is not None]
    loaded = _union(flights, start_s, end_s)
    between = zip((start_s, *(until for _, until in loaded)), (*(since for since, _ in loaded), end_s), strict=True)
    return loaded, tuple(span for since, until in between for span in _union(waits, since, until))


def _union(spans: Iterable[Span], start_s: float, end_s: float) -> tuple[Span, ...]:
    """All of [start, end) that any of the spans covers: spans that follow one another and do not touch."""
    found: list[Span] = []
    for since_s, until_s in sorted((max(start_s, since_s), min(end_s, until_s)) for since_s, until_s in spans):
        if until_s <= since_s:
            continue
        if found and since_s <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], until_s)
        else:
            found.append((since_s, until_s))
    return tuple(found)


def _reasoning(shares: Sequence[tuple[Attempt, float]]) -> tuple[float | None, bool]:
    """Reasoning tokens that came inside, and whether some are by the share of the pieces; None: nothing tells them."""
    inside = [(a, share) for a, share in shares if share > 0]
    if all(a.told_reasoning is None and not a.reasoning_pieces for a, _ in inside):
        return None, False
    by_pieces = any(a.told_reasoning is None and a.reasoning_pieces for a, _ in inside)
    total = math.fsum(
        share * (a.tokens * a.reasoning_pieces / len(a.pieces_s) if a.told_reasoning is None else a.told_reasoning)
        for a, share in inside
    )
    return total, by_pieces


def _in_flight(attempts: Iterable[Attempt], at_s: float) -> int:
    return sum(a.sent_s <= at_s and (a.ended_s is None or a.ended_s > at_s) for a in attempts)


def reasons(attempts: Iterable[Attempt]) -> dict[str, int]:
    """How many failed for each reason, most frequent first."""
    return dict(Counter(a.failure or "in-flight" for a in attempts if not a.ok).most_common())


def percentiles(values_s: Sequence[float]) -> Percentiles | None:
    """Mean and percentiles by linear interpolation; None of nothing."""
    if not values_s:
        return None
    p50_s, p90_s, p99_s = (float(value) for value in np.percentile(values_s, (50, 90, 99)))
    return Percentiles(
        count=len(values_s), mean_s=math.fsum(values_s) / len(values_s), p50_s=p50_s, p90_s=p90_s, p99_s=p99_s
    )
