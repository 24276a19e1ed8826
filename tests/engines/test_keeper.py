"""Keeping a load on a fake server: retries within their bound, what ends a run, arrivals that repeat."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from openai_server import Behaviour, FakeServer, fake_server

from harness.clock import RealClock
from harness.engines.endpoint import Endpoint
from harness.engines.keeper import Keeper
from harness.engines.stream import ServerRefuses, ask
from harness.errors import HarnessError, MeasurementInvalid
from harness.measure.served import Attempt
from harness.serving import ServerOptions
from harness.tasks.base import Request

CLOCK = RealClock()
FOREVER = 1e9


def requests() -> Iterator[Request]:
    return (Request(index, f"prompt {index}") for index in itertools.count())


@contextmanager
def kept(
    *script: Behaviour,
    gone: Callable[[], HarnessError | None] = lambda: None,
    changed: Callable[[int], None] = lambda count: None,
    **options: object,
) -> Iterator[tuple[Keeper, FakeServer]]:
    with fake_server(script or (Behaviour(),)) as server:
        content = {"base_url": server.base_url, "retry_wait_s": 0.01, "ramp_timeout_s": 20.0} | options
        if "request_rate_hz" not in content:
            content = {"concurrency": 2} | content
        wanted = ServerOptions.model_validate(content)

        def ask_it(request: Request, attempt: Attempt, first: Callable[[], None]) -> None:
            body = {"prompt": request.text}
            ask(Endpoint(server.base_url), "/v1/completions", body, attempt, CLOCK.now_s, 20.0, first)

        keeper = Keeper(ask_it, requests(), wanted, 4, 0, CLOCK, changed, gone)
        try:
            yield keeper, server
        finally:
            keeper._stop.set()


def test_the_load_is_on_once_every_slot_has_had_a_token_and_off_after_the_end() -> None:
    counts: list[int] = []
    with kept(Behaviour(token_s=0.005), concurrency=3, changed=counts.append) as (keeper, _):
        start_s = CLOCK.now_s()
        assert keeper.begin() is True
        assert counts[-1] <= 3
        keeper.end()
        served = keeper.account(start_s, CLOCK.now_s(), True).served
        assert max(counts) == 3
        assert counts[-1] == 0
        assert served.requests_sent == served.requests_answered >= 3
        assert served.attempts_failed == {}
        assert served.in_flight_growth == 0
        assert keeper.totals() == (served.requests_sent, {})
        keeper.end()  # again is harmless


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Behaviour(status=429), "http-429"),
        (Behaviour(status=500), "http-500"),
        (Behaviour(closed_after=1), "closed-midway"),
    ],
)
def test_a_failed_attempt_is_tried_again_and_counted(bad: Behaviour, reason: str) -> None:
    with kept(bad, Behaviour(), concurrency=1) as (keeper, server):
        start_s = CLOCK.now_s()
        assert keeper.begin()
        while len(server.asked) < 2:  # an answer that is closed midway has had its first token
            CLOCK.sleep_s(0.002)
        keeper.end()
        served = keeper.account(start_s, CLOCK.now_s(), True).served
        assert served.attempts_failed == {reason: 1}
        assert (served.attempts_retried, served.requests_given_up) == (1, 0)
        assert 0 < served.failed_fraction < 1
        assert served.retry_wait_s > 0
        assert server.asked[0] == server.asked[1]  # the same request
        assert keeper.totals()[1] == {reason: 1}


def test_a_request_is_given_up_after_the_stated_number_of_attempts() -> None:
    script = (*[Behaviour(status=503)] * 3, Behaviour())
    with kept(*script, concurrency=1, retries=2) as (keeper, server):
        start_s = CLOCK.now_s()
        assert keeper.begin()
        keeper.end()
        served = keeper.account(start_s, CLOCK.now_s(), True).served
        assert (served.attempts_retried, served.requests_given_up) == (2, 1)
        assert [content["prompt"] for content in server.asked[:4]] == ["prompt 0"] * 3 + ["prompt 1"]


def test_a_server_that_answers_nothing_ends_the_ramp_with_the_reasons() -> None:
    with (
        kept(Behaviour(status=500), ramp_timeout_s=0.3, retries=1) as (keeper, _),
        pytest.raises(MeasurementInvalid, match=r"answered none of \d+ requests .* x http-500.*told to"),
    ):
        keeper.begin()


def test_a_load_that_comes_on_only_in_part_goes_on() -> None:
    # The second slot never has a token: every second request is turned away, and not tried again.
    script = tuple(Behaviour(status=429) if number else Behaviour(tokens=40, token_s=0.02) for number in (0, 1))
    with kept(*script, concurrency=2, ramp_timeout_s=0.4, retries=0) as (keeper, _):
        assert keeper.begin() is False
        keeper.end()


def test_what_the_server_refuses_ends_the_run_at_once() -> None:
    with kept(Behaviour(status=404)) as (keeper, server):
        with pytest.raises(ServerRefuses, match="404"):
            keeper.begin()
        with pytest.raises(ServerRefuses):
            keeper.end()
        assert len(server.asked) <= 2


def test_a_server_that_is_gone_ends_the_run_with_its_reason() -> None:
    with (
        kept(Behaviour(token_s=0.2), gone=lambda: HarnessError("it ended")) as (keeper, _),
        pytest.raises(HarnessError, match="it ended"),
    ):
        keeper.begin()


def test_an_open_loop_sends_at_random_whatever_became_of_earlier_ones() -> None:
    with kept(Behaviour(tokens=1), request_rate_hz=200.0) as (keeper, _):
        start_s = CLOCK.now_s()
        assert keeper.begin()
        keeper.end()
        served = keeper.account(start_s, CLOCK.now_s(), True).served
        assert served.loop == "open"
        assert served.requests_sent == served.requests_answered >= 1
        assert served.late is not None


def test_arrivals_beyond_the_bound_are_not_sent_and_counted() -> None:
    with kept(Behaviour(tokens=4, token_s=0.05), request_rate_hz=300.0, max_in_flight=1) as (keeper, _):
        start_s = CLOCK.now_s()
        keeper.begin()
        keeper.end()
        served = keeper.account(start_s, CLOCK.now_s(), True).served
        assert served.requests_not_sent > 0
        assert max(served.mean_in_flight, 0) <= 1.0


def test_no_thread_outlives_the_end() -> None:
    with kept(Behaviour(token_s=0.005), concurrency=4) as (keeper, _):
        keeper.begin()
        threads = list(keeper._threads)
        keeper.end()
        assert len(threads) == 4
        assert not any(thread.is_alive() for thread in threads)
