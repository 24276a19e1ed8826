"""What a person sees while a campaign runs: one live line on a terminal, plain lines elsewhere. On standard error."""

from __future__ import annotations

import time

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from harness.measure.base import Progress as News
from harness.records import RunRecord
from harness.specs import RunSpec
from harness.units import format_duration, format_plus_minus, format_significant


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


def outcome_text(record: RunRecord) -> str:
    """One line on how a run ended."""
    if record.summary is None:
        failure = record.failure
        return f"failed in {failure.phase}: {failure.message} {failure.hint}".rstrip() if failure else "failed"
    energy = record.summary.gpu_energy_j
    return f"{format_plus_minus(energy.value, energy.half_width)} J per generation, {record.summary.windows} windows"


class PlainListener:
    """A line for every start, repeat and end."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._label = ""
        self._phase = ""

    def run_started(self, index: int, total: int, spec: RunSpec) -> None:
        """Say which run begins."""
        self._phase = ""
        self._label = f"[{index}/{total}] {run_label(spec)}"
        self._say("start")

    def run_progress(self, progress: News) -> None:
        """Say what it is doing: each phase once, each repeat."""
        if progress.repeat is not None or progress.phase != self._phase:
            self._say(news_text(progress))
        self._phase = progress.phase

    def run_finished(self, record: RunRecord) -> None:
        """Say how it ended."""
        self._say(outcome_text(record))

    def _say(self, words: str) -> None:
        self._out.print(escape(f"{self._label}: {words}"), soft_wrap=True)


class LiveListener:
    """A bar over the campaign with what the current run is doing. Use as a context manager."""

    def __init__(self, out: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=20),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=out,
            refresh_per_second=2,  # the parent shares the machine with what it measures
        )
        self._task: TaskID | None = None
        self._label = ""
        self._started_s = 0.0

    def __enter__(self) -> LiveListener:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def run_started(self, index: int, total: int, spec: RunSpec) -> None:
        """Name the run on the bar."""
        self._label = escape(run_label(spec))
        self._started_s = time.monotonic()
        if self._task is None:
            self._task = self._progress.add_task(self._label, total=total)
        self._progress.update(self._task, description=f"{self._label}: start", completed=index - 1)

    def run_progress(self, progress: News) -> None:
        """Update the line."""
        if self._task is not None:
            self._progress.update(self._task, description=f"{self._label}: {escape(news_text(progress))}")

    def run_finished(self, record: RunRecord) -> None:
        """Print the outcome above the bar and advance it."""
        colour = "green" if record.status == "complete" else "red"
        took = format_duration(time.monotonic() - self._started_s)
        self._progress.console.print(
            f"[{colour}]{record.status}[/] {self._label}: {escape(outcome_text(record))} ({took})"
        )
        if self._task is not None:
            self._progress.advance(self._task)
