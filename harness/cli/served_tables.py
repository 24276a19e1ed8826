"""What a server did: printed below a run's energies."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.measure.served_caveats import energy_text, reasons_text
from harness.records import RunRecord
from harness.served_records import Percentiles, Served, ServedPhase
from harness.units import format_plus_minus, format_significant

MS_PER_S = 1000


def print_served(record: RunRecord, out: Console) -> None:
    """Load, counts, times, and the energies that are not in the figure."""
    served, server = record.served, record.server
    assert served is not None
    mark = f", {record.mark}" if record.mark else ""
    if server is not None:
        how = f"started here, ready in {server.ready_s:.1f} s" if server.ready_s is not None else "found running"
        out.print(f"server: {escape(server.base_url)} ({escape(server.product or 'unnamed')}), {how}", soft_wrap=True)
    asked = (
        f"{served.asked_concurrency} in flight (closed loop)"
        if served.asked_concurrency is not None
        else f"{served.asked_rate_hz:g} requests/s (open loop, Poisson)"
    )
    out.print(
        f"load: {asked}; {served.mean_in_flight:.3g} in flight on average, {served.sent_rate_hz:.3g} requests/s sent, "
        f"{served.answered_rate_hz:.3g} answered, {served.output_tokens / served.duration_s:.4g} output tokens/s",
        soft_wrap=True,
    )
    tokens = f"{served.output_tokens:.4g} output tokens"
    if served.reasoning_tokens is not None:
        tokens += f", {served.reasoning_tokens:.4g} of them reasoning"
    tokens += f"; {_inputs(served)}"
    out.print(
        f"in {served.duration_s:.1f} s of windows: {served.requests_answered} answers ended, worth "
        f"{served.requests_in_part:.4g} with those that ended before or after in part; {tokens}; failed: "
        f"{_failures(served.attempts_failed)}; tried again: {served.attempts_retried}; given up: "
        f"{served.requests_given_up}. Of {served.all_attempts} attempts of the whole run failed: "
        f"{_failures(served.all_failed or {})}",
        soft_wrap=True,
    )
    failures = "; failed attempts of the same request, and waits after them, are in them" if served.all_failed else ""
    title = f"Times, ms: first token and whole answer from when a request was due{failures}"
    times = Table(title=title, title_justify="left")
    for name in ("of", "count", "mean", "median", "90 %", "99 %"):
        times.add_column(name, justify="left" if name == "of" else "right")
    for name, found in (
        ("first token", served.ttft),
        ("between pieces", served.inter_token),
        ("whole answer", served.latency),
    ):
        times.add_row(name, *_times(found))
    out.print(times)
    if served.own_cpu_fraction is not None:
        out.print(f"the harness took {served.own_cpu_fraction:.0%} of a core to send and read in its busiest window")
    for name, phase in (("ramp-up", served.ramp_up), ("drain", served.drain)):
        if phase is not None:
            out.print(f"{name}, not in the figure: {phase_text(phase)}{mark}", soft_wrap=True)
    _print_apart(served, mark, out)


def print_attempts(record: RunRecord, out: Console) -> None:
    """What was sent in a run that failed, and what that drew, as far as windows or the last load tell."""
    attempts = record.attempts
    assert attempts is not None
    mark = f", {record.mark}" if record.mark else ""
    kept = len(record.measurements)
    out.print(
        f"requests: {attempts.sent} sent, failed: {_failures(attempts.failed)}; windows kept: {kept}", soft_wrap=True
    )
    if attempts.windows is not None:
        failed = _failures(attempts.windows.attempts_failed)
        out.print(f"in those windows, rejected ones too: failed: {failed}", soft_wrap=True)
        _print_apart(attempts.windows, mark, out)
    if attempts.last_load is not None:
        out.print(f"the load that failed, in no window: {phase_text(attempts.last_load)}{mark}", soft_wrap=True)


def _print_apart(served: Served, mark: str, out: Console) -> None:
    """What failures drew."""
    if served.failed_energy_j:
        told = f"{format_significant(served.failed_energy_j)} J ± 100 %{mark}"
        out.print(f"failed requests, not in the figure: {told}, estimated by time in flight", soft_wrap=True)
    if served.retry_wait_s:
        out.print(
            f"waits to try again with nothing in flight, not in the figure: {energy_text(served.retry_wait_energy_j)}"
            f"{mark} in {served.retry_wait_s:.2f} s, at idle power",
            soft_wrap=True,
        )
    if served.retry_wait_s is None and served.attempts_retried:
        out.print("what was drawn in waits to try again is in the figure: an early harness did not set it apart")


def _inputs(served: Served) -> str:
    """Input tokens, and how many the server did not have to read."""
    told = "input tokens not told" if served.input_tokens is None else f"{served.input_tokens} input tokens"
    if served.cached_tokens is None:
        return f"{told}, no word of a prefix cache"
    return f"{told}, at least {served.cached_tokens} of them from the prefix cache"


def _times(found: Percentiles | None) -> tuple[str, ...]:
    if found is None:
        return ("0", "-", "-", "-", "-")
    values_s = found.mean_s, found.p50_s, found.p90_s, found.p99_s
    return str(found.count), *(format_significant(value_s * MS_PER_S) for value_s in values_s)


def phase_text(phase: ServedPhase) -> str:
    """What one part of a load drew, and what came of it."""
    if phase.energy_j is None or phase.uncertainty_j is None:
        energy = "energy not measured"
    else:
        energy = f"{format_plus_minus(phase.energy_j, 2 * phase.uncertainty_j)} J"
    return f"{energy} in {phase.duration_s:.2f} s for {phase.output_tokens:.4g} output tokens"


def _failures(failed: Mapping[str, int]) -> str:
    return escape(reasons_text(dict(failed))) or "none"
