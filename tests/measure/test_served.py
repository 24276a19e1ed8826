"""What a window holds of a server's answers, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest

from harness.measure.served import Account, Attempt, account
from harness.measure.served_caveats import served_caveats
from harness.measure.served_pooling import pooled
from harness.records import Caveat, WorkCounts
from harness.serving import ServerOptions

CLOSED = ServerOptions(base_url="http://127.0.0.1:1", concurrency=2)
OPEN = ServerOptions(base_url="http://127.0.0.1:1", request_rate_hz=2.0)


def answered(sent_s: float, pieces: int = 4, piece_s: float = 1.0, **changes: Any) -> Attempt:
    """A token each second from one second after sending, ended with the last."""
    pieces_s = [sent_s + piece_s * (k + 1) for k in range(pieces)]
    content: dict[str, Any] = {"due_s": sent_s, "input_tokens": 10, "output_tokens": pieces, "ended_s": pieces_s[-1]}
    return Attempt(sent_s=sent_s, pieces_s=pieces_s, **(content | changes))


def failed(sent_s: float, ended_s: float, reason: str = "http-500", **changes: Any) -> Attempt:
    return Attempt(due_s=sent_s, sent_s=sent_s, ended_s=ended_s, failure=reason, **changes)


def counted(*attempts: Attempt, options: ServerOptions = CLOSED, new_tokens: int = 4, **changes: Any) -> Account:
    return account(attempts, changes.pop("not_sent_s", ()), 10.0, 20.0, options, new_tokens, **changes)


def codes(found: Account) -> set[str]:
    return {caveat.code for caveat in served_caveats(found.served)}


def caveat(found: Account, code: str) -> Caveat:
    return next(each for each in served_caveats(found.served) if each.code == code)


def test_a_request_counts_by_the_share_of_its_tokens_that_came_inside() -> None:
    # Tokens at 9, 10, 11, 12: three of four inside. At 12.5 to 15.5: all. At 18.5, 19.5, 20.5, 21.5: two.
    found = counted(answered(8.0), answered(11.5), answered(17.5))
    assert found.served.requests_in_part == pytest.approx(0.75 + 1 + 0.5)
    assert found.served.output_tokens == pytest.approx(3 + 4 + 2)
    assert found.work.output_tokens == 9
    assert found.work.requests == pytest.approx(2.25)
    # The first token of the first came before: its prompt was read before.
    assert found.work.input_tokens == 20
    assert found.served.input_tokens == 20
    assert (found.served.requests_sent, found.served.requests_answered) == (2, 2)
    assert found.served.mean_in_flight == pytest.approx((2 + 4 + 2.5) / 10)
    assert found.served.in_flight_growth == 0  # one at each end


def test_times_are_those_that_ended_inside() -> None:
    found = counted(answered(8.0), answered(11.5), answered(17.5))
    assert found.ttft_s == pytest.approx((1.0, 1.0))
    assert len(found.inter_token_s) == 3 + 3 + 1
    assert found.latency_s == pytest.approx((4.0, 4.0))
    assert found.served.inter_token is not None
    assert found.served.inter_token.p99_s == pytest.approx(1.0)
    assert found.served.late is None  # a closed loop is never late


def test_tokens_of_usage_are_spread_over_the_pieces() -> None:
    found = counted(answered(18.0, pieces=4, output_tokens=12), new_tokens=12)  # pieces at 19, 20, 21, 22
    assert found.served.output_tokens == pytest.approx(3.0)
    assert found.served.pieces == 1
    assert "pieces-not-tokens" in codes(found)


def test_failed_attempts_have_their_share_of_the_time_in_flight() -> None:
    # 4 s of an answer; 1 s of a failure that was tried again, 3 s of one given up, half of it before the window.
    attempts = (answered(11.0), failed(12.0, 13.0, "http-429", retried=True), failed(8.5, 11.5, "closed-midway"))
    found = counted(*attempts)
    assert found.served.failed_fraction == pytest.approx(2.5 / 6.5)
    assert found.served.attempts_failed == {"http-429": 1, "closed-midway": 1}
    assert (found.served.attempts_retried, found.served.requests_given_up) == (1, 1)
    assert found.served.requests_in_part == 1.0
    assert "1 x http-429" in caveat(found, "requests-failed").message


def test_a_retry_is_no_new_request() -> None:
    found = counted(failed(12.0, 13.0, retried=True), answered(13.5, first=False))
    assert (found.served.requests_sent, found.served.requests_answered) == (1, 1)


def test_tokens_of_an_answer_that_breaks_later_do_not_count() -> None:
    broken = Attempt(due_s=18.0, sent_s=18.0, pieces_s=[19.0], ended_s=25.0, failure="closed-midway")
    found = counted(answered(11.0), broken)
    assert found.served.output_tokens == 4.0
    assert found.served.attempts_failed == {}  # it failed after the window
    assert found.served.failed_fraction == pytest.approx(2 / 6)
    assert "requests-failed" in codes(found)


def test_fewer_and_more_tokens_than_asked_are_said() -> None:
    found = counted(answered(11.0, pieces=2), answered(11.0), answered(11.0, pieces=5))
    assert (found.served.fewer_tokens, found.served.more_tokens) == (1, 1)
    assert "1 of 3 answers came with fewer" in caveat(found, "other-length").message


def test_without_usage_pieces_count_and_input_is_unknown_not_zero() -> None:
    found = counted(answered(11.0, input_tokens=None, output_tokens=None), answered(11.0))
    assert found.served.without_usage == 1
    assert found.served.input_tokens is found.work.input_tokens is None
    assert found.work.output_tokens == 8
    assert "no-usage" in codes(found)


@pytest.mark.parametrize(
    ("changes", "tokens", "contradicting"),
    [
        ({"output_tokens": 0}, 4, 1),
        ({"output_tokens": 900}, 4, 1),
        ({"reasoning_tokens": 5}, 4, 1),
        ({"input_tokens": 0}, 4, 1),
        ({"output_tokens": 12, "reasoning_tokens": 9}, 12, 0),  # a server that bounds what follows the reasoning
        ({"output_tokens": 6, "asked_tokens": 3}, 6, 0),  # the stream went on as well: other-length tells of it
        ({"output_tokens": 3}, 3, 0),  # more pieces than tokens
        ({"output_tokens": 1_000_004, "reasoning_tokens": 1_000_000}, 4, 1),  # 250,000 a second
        ({"output_tokens": 1_000, "asked_tokens": 3}, 4, 1),  # one piece more than asked, and 250 tokens in each
        ({"output_tokens": None, "no_counts": {"output_tokens"}}, 4, 1),  # sent as -1, say
    ],
)
def test_usage_that_cannot_be_is_not_believed(changes: dict[str, Any], tokens: int, contradicting: int) -> None:
    found = counted(answered(11.0, **({"asked_tokens": 4} | changes)), answered(11.0, asked_tokens=4))
    assert found.served.output_tokens == tokens + 4
    assert found.served.contradicting_usage == contradicting
    assert found.served.fewer_than_pieces == (tokens < 4)
    assert ("usage-contradicts" in codes(found)) is (contradicting > 0 or tokens < 4)
    assert found.served.input_tokens == (None if changes.get("input_tokens") == 0 else 20)
    assert (found.served.reasoning_tokens or 0) <= found.served.output_tokens
    assert found.served.without_usage == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"input_tokens": 10**9, "sent_bytes": 200},  # of eight words
        {"input_tokens": 7, "cached_tokens": 500},
        {"input_tokens": None, "no_counts": {"input_tokens"}},
        {"cached_tokens": 10**9, "input_tokens": None, "sent_bytes": 200},
    ],
)
def test_input_that_cannot_be_is_not_known_and_a_caveat(changes: dict[str, Any]) -> None:
    found = counted(answered(11.0, **changes), answered(11.0, sent_bytes=200))
    assert found.served.contradicting_usage == 1
    assert found.served.input_tokens is found.work.input_tokens is found.served.cached_tokens is None
    assert (found.work + WorkCounts(input_tokens=5)).input_tokens is None
    assert {"usage-contradicts"} == codes(found) & {"usage-contradicts", "prefix-cached", "no-usage"}
    assert found.served.output_tokens == 8


def test_tokens_from_a_prefix_cache_are_said_and_missing_is_not_none() -> None:
    found = counted(answered(11.0, cached_tokens=8), answered(11.0), answered(8.5, cached_tokens=9))
    assert (found.served.input_tokens, found.served.cached_tokens) == (20, 8)  # the last was read before the window
    assert "At least 8 of 20 input tokens" in caveat(found, "prefix-cached").message
    told_none, untold = counted(answered(11.0, cached_tokens=0)), counted(answered(11.0))
    assert (told_none.served.cached_tokens, untold.served.cached_tokens) == (0, None)
    assert "prefix-cached" not in codes(told_none) | codes(untold)
    run = pooled([found, untold], (4, {}))
    assert run is not None
    assert (run.cached_tokens, run.input_tokens) == (8, 30)


def test_reasoning_is_part_of_the_output_and_by_pieces_where_it_is_not_told() -> None:
    told = counted(answered(11.0, reasoning_tokens=3))
    assert (told.served.reasoning_tokens, told.served.reasoning_by_pieces) == (3.0, False)
    by_pieces = counted(answered(11.0, output_tokens=8, reasoning_pieces=1), new_tokens=8)
    assert by_pieces.served.reasoning_tokens == pytest.approx(2.0)
    assert "reasoning-by-pieces" in codes(by_pieces)
    assert counted(answered(11.0)).served.reasoning_tokens is None


def test_a_load_that_is_not_kept_is_said() -> None:
    assert "concurrency-not-kept" in codes(counted(answered(11.0)))
    kept = [answered(start_s, pieces=5) for start_s in (10.0, 10.0, 15.0, 15.0)]
    assert "concurrency-not-kept" not in codes(counted(*kept, new_tokens=5))
    assert "concurrency-not-kept" in codes(counted(*kept, new_tokens=5, reached=False))


def test_an_open_loop_says_what_was_not_sent_and_whether_the_queue_grows() -> None:
    found = counted(answered(11.0), options=OPEN, not_sent_s=[12.0, 13.0, 30.0])
    assert found.served.requests_not_sent == 2
    assert "2 of 3 arrivals were not sent" in caveat(found, "rate-not-reached").message
    waiting = [answered(15.0 + k / 4, piece_s=3.0) for k in range(16)]
    grown = counted(*waiting, options=OPEN)
    assert grown.served.in_flight_growth == 16
    assert "queue-grew" in codes(grown)
    assert "queue-grew" not in codes(counted(answered(11.0), options=OPEN))


def test_the_harness_says_when_it_was_late_itself() -> None:
    assert "sent-late" in codes(counted(answered(11.0, due_s=10.5), options=OPEN))
    assert "sent-late" not in codes(counted(answered(11.0), options=OPEN))


def test_a_harness_that_is_too_busy_to_read_says_so() -> None:
    served = counted(answered(11.0)).served
    for fraction, said in ((0.69, False), (0.71, True)):
        found = served_caveats(served.model_copy(update={"own_cpu_fraction": fraction}))
        assert ("client-busy" in {each.code for each in found}) is said


def test_the_board_had_work_whenever_anything_was_in_flight() -> None:
    spans = counted(answered(8.0), answered(11.0), failed(16.0, 17.0), answered(18.0)).loaded_s
    assert spans == ((10.0, 15.0), (16.0, 17.0), (18.0, 20.0))


def test_a_wait_counts_only_while_nothing_is_in_flight() -> None:
    # In flight 11 to 15 and 18 to 18.5. Waits from 13 to 16, and from 18.5 to after the window.
    found = counted(answered(11.0), failed(12.0, 13.0, waited_s=16.0), failed(18.0, 18.5, waited_s=30.0))
    assert found.waits_s == ((15.0, 16.0), (18.5, 20.0))
    assert found.served.retry_wait_s == 2.5
    assert found.served.failed_fraction == pytest.approx(1.5 / 5.5)


def test_windows_are_pooled_by_their_times_not_their_percentiles() -> None:
    one, other = counted(answered(11.0)), counted(answered(11.0, piece_s=2.0), failed(12.0, 14.0))
    run = pooled([one, other], (5, {"http-500": 2}))
    assert run is not None
    assert (run.requests_answered, run.output_tokens, run.duration_s) == (2, 8.0, 20.0)
    assert run.ttft is not None
    assert (run.ttft.count, run.ttft.p50_s) == (2, pytest.approx(1.5))
    assert run.failed_fraction == pytest.approx(2 / (4 + 8 + 2))
    assert (run.all_attempts, run.all_failed) == (5, {"http-500": 2})
    assert pooled([], (0, {})) is None
