"""What a person sees while a campaign runs: live lines on a terminal, plain lines elsewhere. On standard error."""

from __future__ import annotations

import io
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.measure.base import Progress as News
from harness.records import RunRecord
from harness.run.estimate import Range
from harness.run.retries import Attempt
from harness.specs import RunSpec
from harness.units import format_duration, format_energy, format_plus_minus, format_significant


class Unheard(io.TextIOBase):
    """A stream whose reader may go away (`| head`, a lost terminal): the rest goes nowhere, the campaign goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """All of it, or nothing where nobody reads."""
        try:
            self._stream.write(text)
        except OSError:
            self._let_go()
        return len(text)

    def flush(self) -> None:
        """What is not read is dropped."""
        try:
            self._stream.flush()
        except OSError:
            self._let_go()

    def fileno(self) -> int:
        """Of the stream, if it has one."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Whether a person watches."""
        return self._stream.isatty()

    def writable(self) -> bool:
        """Always."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]  # the base has a plain attribute
        """Of the stream."""
        return self._stream.encoding

    def _let_go(self) -> None:
        """So that what Python still has buffered does not fail when it exits."""
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def news_text(news: News) -> str:
    """Phase, repeat, watts, interval so far and time left, as far as they are known."""
    parts = [news.phase]
    if news.repeat is not None:
        parts = [f"repeat {news.repeat} of at most {news.max_repeats}"]
    if news.power_w is not None:
        parts.append(f"{format_significant(news.power_w)} W")
    if news.relative_halfwidth is not None:
        parts.append(f"interval ±{news.relative_halfwidth:.1%}")
    if news.left_s is not None:
        parts.append(f"about {format_duration(news.left_s)} left")
    return ", ".join(parts)


def run_label(spec: RunSpec) -> str:
    """Model and batch size, or the load on a server, and whether the watts to come are simulated."""
    mark = " (replay, simulated)" if spec.replay else " (simulated)" if spec.sources.kind == "simulated" else ""
    prompts = f" on {spec.prompts.dataset}" if spec.prompts.dataset else ""
    return f"{spec.model.id}{prompts} {spec.load_label}{mark}"


def outcome_text(record: RunRecord, again: bool) -> str:
    """One line on how a run ended, and what follows where something does."""
    if record.summary is None:
        failure = record.failure
        told = f"failed in {failure.phase}: {failure.message} {failure.hint}".rstrip() if failure else "failed"
        half = record.scheduled.halved_as if record.scheduled is not None else None
        return told + (f" At half the batch instead: {half}." if again and half else " Tried again." if again else "")
    energy = record.summary.gpu_energy_j
    return f"{format_plus_minus(energy.value, energy.half_width)} J per generation, {record.summary.windows} windows"


def attempt_label(attempt: Attempt) -> str:
    """The run, and why it is made once more."""
    if attempt.halved_from is not None:
        return f"{run_label(attempt.spec)}, half of a batch that did not fit"
    return run_label(attempt.spec) + (f", attempt {attempt.number}" if attempt.number > 1 else "")


class Tally:
    """Where the campaign stands: done, failed, left, watts now, energy so far, time left.

    Energy is what the GPUs that ran the models drew in all windows, rejected ones and those of failed runs too; warm-up
    and idle time are not in it. Time left goes by the runs that have ended; before, by the estimate.
    """

    def __init__(self, estimate_s: Range | None, now_s: Callable[[], float] = time.monotonic) -> None:
        self._estimate_s, self._now_s = estimate_s, now_s
        self._start_s = now_s()
        self._power_w: dict[str, float] = {}
        self._energy_j: float | None = None
        self._simulated = False
        self.done = self.failed = self.total = self.ended = 0

    def started(self, total: int) -> None:
        """A run begins."""
        self.total = total

    def news(self, spec: RunSpec, news: News) -> None:
        """A run told something."""
        if news.power_w is not None:
            self._power_w[spec.run_id] = news.power_w
        else:  # another phase
            self._power_w.pop(spec.run_id, None)

    def finished(self, record: RunRecord, again: bool) -> None:
        """A run is stored."""
        self._power_w.pop(record.run_id, None)
        self.ended += 1
        self.done += record.status == "complete"
        self.failed += record.status == "failed" and not again
        self._simulated |= record.simulated
        active = {info.id for info in record.sources if info.runs_model}
        drawn = [s.energy_j for window in record.measurements for s in window.sources if s.source_id in active]
        if drawn:
            self._energy_j = (self._energy_j or 0.0) + math.fsum(drawn)

    @property
    def took_s(self) -> float:
        """Since the campaign began."""
        return self._now_s() - self._start_s

    def words(self) -> str:
        """All of it in one line; what is not known yet is left out."""
        return ", ".join(filter(None, (self.counts(), self.left())))

    def counts(self) -> str:
        """Runs, watts and energy."""
        parts = [f"{self.done} done", f"{self.failed} failed", f"{self._to_do} left"]
        if self._power_w:
            parts.append(f"{format_significant(math.fsum(list(self._power_w.values())))} W now")
        if self._energy_j is not None:
            mark = " (simulated)" if self._simulated else ""
            parts.append(f"{format_energy(self._energy_j)} in windows so far{mark}")
        return ", ".join(parts)

    def left(self) -> str:
        """Time left; empty where nothing tells it."""
        if self._to_do and self.ended:
            return f"about {format_duration(self.took_s / self.ended * self._to_do)} left"
        if self._to_do and self._estimate_s is not None:
            low_s, high_s = (max(0.0, end_s - self.took_s) for end_s in self._estimate_s)
            return f"{format_duration(low_s)} to {format_duration(high_s)} left" if high_s else "longer than estimated"
        return ""

    @property
    def _to_do(self) -> int:
        return max(0, self.total - self.ended)


class PlainListener:
    """A line for every start, repeat and end."""

    def __init__(self, out: Console, estimate_s: Range | None = None) -> None:
        self._out = out
        self._tally = Tally(estimate_s)
        self._labels: dict[str, str] = {}
        self._phases: dict[str, str] = {}

    def run_started(self, index: int, total: int, attempt: Attempt) -> None:
        """Say which run begins."""
        run_id = attempt.spec.run_id
        self._tally.started(total)
        self._phases[run_id] = ""
        self._labels[run_id] = f"[{index}/{total}] {attempt_label(attempt)}"
        self._say(run_id, "start")

    def run_progress(self, spec: RunSpec, progress: News) -> None:
        """Say what it is doing: each phase once, each repeat."""
        if progress.repeat is not None or progress.phase != self._phases[spec.run_id]:
            self._say(spec.run_id, news_text(progress))
        self._phases[spec.run_id] = progress.phase
        self._tally.news(spec, progress)

    def run_finished(self, record: RunRecord, again: bool) -> None:
        """Say how it ended, and where the campaign stands."""
        self._tally.finished(record, again)
        self._say(record.run_id, outcome_text(record, again))
        self._out.print(self._tally.words(), soft_wrap=True)

    def _say(self, run_id: str, words: str) -> None:
        self._out.print(escape(f"{self._labels[run_id]}: {words}"), soft_wrap=True)


class LiveListener:
    """A bar over the campaign, where it stands, and what each run in flight is doing. Use as a context manager.

    Lines too long for the terminal go on in the next one: nothing is cut.
    """

    def __init__(
        self, out: Console, estimate_s: Range | None = None, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._now_s = now_s
        self._tally = Tally(estimate_s, now_s)
        self._runs: dict[str, tuple[str, float]] = {}  # label, start
        self._doing: dict[str, str] = {}
        # twice a second: the parent shares the machine with what it measures
        self._live = Live(console=out, refresh_per_second=2, get_renderable=self.view)

    def __enter__(self) -> LiveListener:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def run_started(self, index: int, total: int, attempt: Attempt) -> None:
        """A line for the run."""
        self._tally.started(total)
        run_id = attempt.spec.run_id
        self._doing[run_id] = "start"
        self._runs[run_id] = attempt_label(attempt), self._now_s()

    def run_progress(self, spec: RunSpec, progress: News) -> None:
        """Update the run's line."""
        self._doing[spec.run_id] = news_text(progress)
        self._tally.news(spec, progress)

    def run_finished(self, record: RunRecord, again: bool) -> None:
        """Print the outcome above the bar and advance it."""
        label, start_s = self._runs.pop(record.run_id)
        colour = "green" if record.status == "complete" else "red"
        took = format_duration(self._now_s() - start_s)
        told = outcome_text(record, again)
        self._tally.finished(record, again)
        self._live.console.print(Text.assemble((record.status, colour), f" {label}: {told} ({took})"))

    def view(self) -> Group:
        """The lines as they are now."""
        if not self._tally.total:
            return Group()
        bar = Table.grid(padding=(0, 1))
        ended, total = self._tally.ended, self._tally.total
        left = self._tally.left()
        told = f"{ended}/{total} after {timedelta(seconds=int(self._tally.took_s))}{', ' if left else ''}{left}"
        bar.add_row(ProgressBar(total, ended, width=20), Text(told))
        doing = [Text(f"{label}: {self._doing[run_id]}") for run_id, (label, _) in list(self._runs.items())]
        return Group(bar, Text(self._tally.counts()), *doing)
