"""Keeps a load on a server: so many requests in flight (closed loop), or arrivals at random (open loop).

Each request in flight has a thread that sends it, reads its answer and tries again within the stated bound. All of it
is kept as Attempts, from which measure/served counts what a window holds.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from statistics import median

from harness.clock import Clock
from harness.engines.stream import AttemptFailed, ServerRefuses
from harness.errors import HarnessError, MeasurementInvalid
from harness.measure.served import Account, Attempt, account, reasons
from harness.measure.served_caveats import reasons_text
from harness.serving import ServerOptions
from harness.tasks.base import Request

LOOK_S = 0.05  # between two looks at whether the load is on
LONGEST_RETRY_WAIT_S = 30.0
STOP_SLACK_S = 10.0  # for the threads of requests that ran into their timeout

Ask = Callable[[Request, Attempt, Callable[[], None]], None]


class Keeper:
    """A ServedWorkload over a function that asks once."""

    def __init__(
        self,
        ask: Ask,
        requests: Iterator[Request],
        options: ServerOptions,
        new_tokens: int,
        seed: int,
        clock: Clock,
        in_flight_changed: Callable[[int], None] = lambda count: None,
        server_gone: Callable[[], HarnessError | None] = lambda: None,
    ) -> None:
        """Nothing is sent yet.

        Args:
            ask: Sends a request and fills in its Attempt; raises AttemptFailed or ServerRefuses.
            requests: Endless.
            options: The load.
            new_tokens: Output tokens that every request asks for.
            seed: Of the arrivals.
            clock: Stamps everything.
            in_flight_changed: Told of every change (a simulated GPU's load follows it).
            server_gone: Why there is no server any more; None while there is one.
        """
        self._ask, self._requests, self._options = ask, requests, options
        self._new_tokens, self._seed, self._clock = new_tokens, seed, clock
        self._in_flight_changed, self._server_gone = in_flight_changed, server_gone
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._attempts: list[Attempt] = []
        self._not_sent_s: list[float] = []
        self._in_flight = 0
        self._began_s = 0.0
        self._begun = 0
        self._answering: set[int] = set()  # closed loop: slots that have had a first token
        self._fatal: HarnessError | None = None
        self._detail = ""
        self._latencies_s: list[float] = []
        self._before: tuple[int, dict[str, int]] = (0, {})  # attempts of earlier loads

    # --- what a session does ---

    def begin(self) -> bool:
        """Put the load on.

        Returns:
            True once it is on: closed loop, every slot has a request in flight and has had a token; open loop,
            arrivals have gone on for as long as the longest answer so far took, and one has been answered. False if
            `ramp_timeout_s` passed with some answers.

        Raises:
            MeasurementInvalid: `ramp_timeout_s` passed without any.
            HarnessError: The server ended, or refuses what is asked.
        """
        self._before = self.totals()
        with self._lock:
            self._attempts, self._not_sent_s, self._answering = [], [], set()
        self._stop.clear()
        self._begun += 1
        self._began_s = self._clock.now_s()
        if self._options.concurrency is not None:
            spread_s = median(self._latencies_s) if self._latencies_s else 0.0
            for slot in range(self._options.concurrency):
                self._start(self._keep_slot, slot, spread_s * slot / self._options.concurrency)
        else:
            self._start(self._arrivals, random.Random(f"arrivals-{self._seed}-{self._begun}"))
        deadline_s = self._began_s + self._options.ramp_timeout_s
        while not self._is_on():
            self._raise_what_ends_it()
            if self._clock.now_s() > deadline_s:
                return self._on_in_part()
            self._stop.wait(LOOK_S)
        return True

    def end(self) -> None:
        """Send nothing more and wait for what is in flight.

        Raises:
            HarnessError: The server ended, or refuses what was asked.
        """
        self._stop.set()
        deadline_s = time.monotonic() + self._options.request_timeout_s + STOP_SLACK_S
        with self._lock:
            threads, self._threads = self._threads, []
        for thread in threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        self._raise_what_ends_it()

    def synchronize(self) -> None:
        """end() returns when nothing is in flight."""

    def account(self, start_s: float, end_s: float, reached: bool) -> Account:
        """What happened in [start, end) since the last begin()."""
        with self._lock:
            attempts, not_sent_s = list(self._attempts), list(self._not_sent_s)
        return account(attempts, not_sent_s, start_s, end_s, self._options, self._new_tokens, reached)

    def totals(self) -> tuple[int, dict[str, int]]:
        """Attempts so far, and how many failed by reason."""
        with self._lock:
            attempts = list(self._attempts)
        count, failed = self._before
        together = dict(failed)
        for reason, number in reasons(a for a in attempts if a.ended_s is not None).items():
            together[reason] = together.get(reason, 0) + number
        return count + len(attempts), together

    # --- whether the load is on ---

    def _is_on(self) -> bool:
        with self._lock:
            if self._options.concurrency is not None:
                everyone = self._options.concurrency
                return len(self._answering) == everyone and self._in_flight == everyone
            longest_s = max(self._latencies_s, default=0.0)
            elapsed_s = self._clock.now_s() - self._began_s
            return elapsed_s >= longest_s and any(a.ok for a in self._attempts)

    def _on_in_part(self) -> bool:
        with self._lock:
            answered = sum(a.ok or bool(a.pieces_s) for a in self._attempts)
            failed = reasons(a for a in self._attempts if a.ended_s is not None)
            sent = len(self._attempts)
        if answered:
            return False
        why = reasons_text(failed) or "none ended"
        raise MeasurementInvalid(
            f"The server answered none of {sent} requests within ramp_timeout_s = "
            f"{self._options.ramp_timeout_s:g} s: {why}.{f' It said: {self._detail}' if self._detail else ''}",
            "Its log may tell why; a slow server needs a longer server.ramp_timeout_s.",
        )

    def _raise_what_ends_it(self) -> None:
        gone = self._server_gone()
        error = gone or self._fatal
        if error is not None:
            self._stop.set()
            raise error

    # --- what the threads do ---

    def _start(self, target: Callable[..., object], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        with self._lock:
            self._threads.append(thread)
        thread.start()

    def _keep_slot(self, slot: int, wait_s: float) -> None:
        """Closed loop: one request after another."""
        self._stop.wait(wait_s)
        while not self._stop.is_set():
            last = self._answer(self._next(), self._clock.now_s(), slot)
            if not last.ok:
                self._wait(last, self._options.retry_wait_s)  # a server that is gone is not asked in a tight loop

    def _arrivals(self, drawn: random.Random) -> None:
        """Open loop: gaps drawn from an exponential distribution, whatever became of earlier requests."""
        assert self._options.request_rate_hz is not None
        due_s = self._clock.now_s()
        while True:
            due_s += drawn.expovariate(self._options.request_rate_hz)
            if self._stop.wait(max(0.0, due_s - self._clock.now_s())):
                return
            with self._lock:
                self._threads = [thread for thread in self._threads if thread.is_alive()]
                full = len(self._threads) - 1 >= self._options.max_in_flight  # less this one
                if full:
                    self._not_sent_s.append(due_s)
            if not full:
                self._start(self._answer, self._next(), due_s, None)

    def _next(self) -> Request:
        with self._lock:
            return next(self._requests)

    def _wait(self, failed: Attempt, wait_s: float) -> bool:
        """Send nothing in place of what failed for a while. False: the load is taken off meanwhile."""
        stopped = self._stop.wait(wait_s)
        failed.waited_s = self._clock.now_s()
        return not stopped

    def _answer(self, request: Request, due_s: float, slot: int | None) -> Attempt:
        """Ask until it is answered, or the bound is reached. The last attempt."""
        for number in range(self._options.retries + 1):
            attempt = Attempt(due_s, self._clock.now_s(), first=number == 0, asked_tokens=self._new_tokens)
            self._now_in_flight(+1, attempt)
            retry_after_s: float | None = None
            try:
                self._ask(request, attempt, lambda: self._answers(slot))
            except AttemptFailed as failed:
                attempt.failure, retry_after_s = failed.reason, failed.retry_after_s
                self._detail = failed.detail or self._detail
            except HarnessError as error:
                attempt.failure = "refused" if isinstance(error, ServerRefuses) else error.kind
                self._fatal = self._fatal or error
                self._stop.set()
            except Exception as error:
                attempt.failure = "harness-error"
                self._fatal = self._fatal or HarnessError(f"{type(error).__name__} while asking the server: {error}")
                self._stop.set()
            finally:
                attempt.ended_s = self._clock.now_s()
                self._now_in_flight(-1, attempt)
            if attempt.failure is None:
                with self._lock:
                    self._latencies_s = [*self._latencies_s[-999:], attempt.ended_s - attempt.sent_s]
                return attempt
            if number == self._options.retries or self._stop.is_set():
                return attempt
            wait_s = self._options.retry_wait_s * 2**number if retry_after_s is None else retry_after_s
            attempt.retried = self._wait(attempt, min(wait_s, LONGEST_RETRY_WAIT_S))
            if not attempt.retried:
                return attempt
        return attempt

    def _answers(self, slot: int | None) -> None:
        if slot is not None:
            with self._lock:
                self._answering.add(slot)

    def _now_in_flight(self, change: int, attempt: Attempt) -> None:
        with self._lock:
            if change > 0:
                self._attempts.append(attempt)
            self._in_flight += change
            self._in_flight_changed(self._in_flight)
