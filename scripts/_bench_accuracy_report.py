"""Accuracy benchmark: from windows to figures, and from figures to tables. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from _bench_accuracy_ours import COVERAGE
from _bench_accuracy_world import load_class

Windows = list[dict[str, Any]]  # of one board, or of several
PEERS = ("zeus", "codecarbon")
TARGET_LENGTH_S, TARGET_COVERAGE = 10.0, (0.93, 0.99)
TARGETS = {"beating": 0.2, "others": 1.0}  # ours over the better peer's p95, whatever else the error is made of
RATIOS = {"harness": "uncalibrated", "harness_calibrated": "calibrated", "harness_method": "method"}
RESAMPLES = 400
SAID = {"harness": ("said_j", "u_j"), "harness_calibrated": ("calibrated_j", "calibrated_u_j")}


def figures(boards: dict[str, list[Windows]]) -> dict[str, Any]:
    """Everything that is reported of one load, counter and window length.

    Args:
        boards: By tool, "harness" and each peer that ran, the windows of every board, in the same order of boards.
            `method_j` of a window is the figure less what the board's gain and offset do to every tool alike.

    Returns:
        By tool, `median` and `p95` of |error| as a fraction of the true energy, `n`; for ours, also calibrated, the
        coverage of the 95 % interval, its median half-width, and what it costs. `p95_ratios`: ours over the better
        peer's, as told, calibrated, and for the method alone (both apart from the board's gain and offset).
    """
    ours = [window for windows in boards["harness"] for window in windows]
    stated = [window for window in ours if not window["rejected"]]
    peers = {name: _errors_by_board(boards[name], "said_j") for name in PEERS if name in boards}
    methods = [_errors_by_board(boards[name], "method_j") for name in PEERS if name in boards]
    found: dict[str, Any] = {name: _summary(errors) for name, errors in peers.items()}
    for name, (said, u) in SAID.items():
        told = [window for window in stated if said in window]
        halfwidths = [COVERAGE * window[u] / window["true_j"] for window in told]
        found[name] = _summary(_errors_by_board(boards["harness"], said)) | {
            "coverage": _share(abs(w[said] - w["true_j"]) <= COVERAGE * w[u] for w in told),
            "missed_by_twice": _share(_far(w, said, u) for w in told),
            "missed_silently": sum(_far(w, said, u) and not w["caveats"] for w in told),
            "halfwidth_median": _quantile(halfwidths, 0.5),
        }
    found["p95_ratios"] = {
        "harness": _p95_ratio(_errors_by_board(boards["harness"], "said_j"), list(peers.values())),
        "harness_calibrated": _p95_ratio(_errors_by_board(boards["harness"], "calibrated_j"), list(peers.values())),
        "harness_method": _p95_ratio(_errors_by_board(boards["harness"], "method_j"), methods),
    }
    found["without_figure"] = round(1 - len(stated) / len(ours), 4)
    found["why"] = dict(Counter(code for window in ours for code in set(window["rejected"])))
    found["caveats"] = dict(Counter(code for window in stated for code in set(window["caveats"])))
    found["time_per_busy"] = _quantile([window["window_s"] / window["busy_s"] for window in ours], 0.5)
    found["largest_term"] = dict(Counter(window["largest"] for window in stated))
    return found


def _far(window: dict[str, Any], said: str, u: str) -> bool:
    """The truth lies more than twice the half-width of the interval from the figure."""
    return abs(float(window[said] - window["true_j"])) > 2 * COVERAGE * float(window[u])


def _errors_by_board(boards: list[Windows], said: str) -> list[list[float]]:
    """|error| as a fraction of the true energy, of every window with a figure."""
    return [
        [abs(w[said] / w["true_j"] - 1) for w in windows if not w.get("rejected") and w.get(said) is not None]
        for windows in boards
    ]


def _summary(boards: list[list[float]]) -> dict[str, Any]:
    errors = [error for board in boards for error in board]
    return {"n": len(errors), "median": _quantile(errors, 0.5), "p95": _quantile(errors, 0.95)}


def _p95_ratio(ours: list[list[float]], peers: list[list[list[float]]]) -> list[float] | None:
    """Our 95th percentile over the better peer's, and a 95 % interval by drawing boards anew (bootstrap).

    Boards, not windows: the windows of one board share its gain.
    """
    if not peers or not any(ours):
        return None

    def ratio(chosen: Iterable[int]) -> float | None:
        kept = list(chosen)
        p95 = [_quantile([error for index in kept for error in boards[index]], 0.95) for boards in (ours, *peers)]
        return None if None in p95 or min(p95[1:]) == 0 else p95[0] / min(p95[1:])

    whole, rng = ratio(range(len(ours))), np.random.default_rng(0)
    drawn = [ratio(rng.integers(len(ours), size=len(ours))) for _ in range(RESAMPLES)]
    known = [value for value in drawn if value is not None]
    return None if whole is None else [round(float(v), 3) for v in (whole, *np.quantile(known, (0.025, 0.975)))]


def _quantile(values: Sequence[float], fraction: float) -> float | None:
    return round(float(np.quantile(values, fraction)), 6) if values else None


def _share(cases: Iterable[bool]) -> float | None:
    known = list(cases)
    return round(sum(known) / len(known), 4) if known else None


def verdicts(cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The issue's targets against the figures: what is met and what is not, cell by cell."""
    ratios: dict[str, list[dict[str, Any]]] = {kind: [] for kind in TARGETS}
    for cell in cells:
        if cell["window_s"] == TARGET_LENGTH_S and any(name in cell for name in PEERS):
            beat_s = load_class(cell["load"]).beat_s
            named = {"load": cell["load"], "counter": cell["counter"], "beat_s": beat_s}
            ratios["others" if beat_s is None else "beating"].append(named | cell["p95_ratios"])
    return {
        "p95_ratio_at_10_s": ratios,
        "coverage": {
            f"{name}, {counter} counter": pooled
            for counter in COUNTERS
            for name in SAID
            if (pooled := _pooled([cell for cell in cells if cell["counter"] == counter], name))["windows"]
        },
        "missed_silently": {name: sum(cell[name]["missed_silently"] for cell in cells) for name in SAID},
    }


def _pooled(cells: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """Share of all windows with a figure, by load and in all."""

    def share(chosen: Sequence[dict[str, Any]]) -> float | None:
        known = [(cell[name]["coverage"], cell[name]["n"]) for cell in chosen if cell[name]["n"]]
        total = sum(n for _, n in known)
        return round(math.fsum(coverage * n for coverage, n in known) / total, 4) if total else None

    loads = dict.fromkeys(cell["load"] for cell in cells)
    by_load = {load: share([cell for cell in cells if cell["load"] == load]) for load in loads}
    return {"all": share(cells), "windows": sum(cell[name]["n"] for cell in cells), "by_load": by_load}


# --- for people -----------------------------------------------------------------------------------------


def markdown(result: dict[str, Any]) -> str:
    """The result as a page: how it was made, the targets, and every cell."""
    run = result["run"]
    lines = [
        "# Accuracy on virtual GPUs, beside Zeus and CodeCarbon",
        "",
        f"{run['date']}, commit {run['commit']}, {run['cpu']}, Python {run['python']}; `{run['command']}`, "
        f"{run['elapsed_s']:.0f} s. {run['windows']} windows per cell on {run['boards']} boards, seed {run['seed']}.",
        "",
        *(f"- {tool}: {text}" for tool, text in result["tools"].items()),
        *(f"- {note}" for note in result["notes"]),
        "",
        "Error: |energy said / true energy of the work - 1|, in per cent, median and 95th percentile. `calibrated`: "
        "gain and offset known from a meter to 0.5 % and 0.5 W. Coverage: how often the 95 % interval holds the truth. "
        "`no figure`: windows that the harness refuses. `time`: what a window takes per second of work.",
    ]
    for counter in dict.fromkeys(cell["counter"] for cell in result["cells"]):
        lines += ["", f"## Energy counter: {COUNTERS[counter]}", "", *_table(result["cells"], counter)]
    return "\n".join([*lines, "", "## Targets", "", *_targets(result["verdicts"]), ""])


COUNTERS = {"sensor": "accumulates the sensor's readings", "truth": "true energy"}
HEADER = (
    "| load | window s | Zeus | CodeCarbon | harness | calibrated | coverage | calibrated | no figure | time |",
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
)


def _table(cells: Sequence[dict[str, Any]], counter: str) -> list[str]:
    rows = list(HEADER)
    for cell in cells:
        if cell["counter"] != counter:
            continue
        tools = [_pair(cell.get(name)) for name in (*PEERS, "harness", "harness_calibrated")]
        covered = [_percent(cell[name]["coverage"], 0) for name in ("harness", "harness_calibrated")]
        last = (_percent(cell["without_figure"], 0), f"{cell['time_per_busy']:.2f}")
        rows.append("| " + " | ".join([cell["load"], f"{cell['window_s']:g}", *tools, *covered, *last]) + " |")
    return rows


def _pair(errors: dict[str, Any] | None) -> str:
    if errors is None or not errors["n"]:
        return "-"
    return f"{_percent(errors['median'], 2)} / {_percent(errors['p95'], 2)}"


def _percent(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{100 * value:.{digits}f}"


KINDS = {"beating": "Loads that beat with the sensor", "others": "Other loads"}


def _or_more(load: str) -> str:
    return "" if load_class(load).recording else " or more"


def _targets(found: dict[str, Any]) -> list[str]:
    lines = [
        "95th percentile at 10 s over the better peer's, with a 95 % interval over boards. `method`: both sides apart "
        "from the board's gain and offset, which every tool that reads the board shares. A beat that is over within "
        "the window averages out for every tool; what is left is above all the gain.",
        "",
    ]
    for kind, wanted in TARGETS.items():
        lines.append(f"{KINDS[kind]} (at most {wanted:g} is wanted):")
        for entry in found["p95_ratio_at_10_s"][kind]:
            said = (f"{words} {_verdict(entry[name], wanted)}" for name, words in RATIOS.items() if entry[name])
            beat = "" if entry["beat_s"] is None else f" (beat of {entry['beat_s']:.1f} s{_or_more(entry['load'])})"
            lines.append(f"- {entry['load']}{beat}, {entry['counter']} counter: {', '.join(said)}")
        lines.append("")
    low, high = TARGET_COVERAGE
    lines.append(f"Coverage of the 95 % interval ({low:.0%} to {high:.0%} is wanted):")
    for name, pooled in found["coverage"].items():
        by_load = ", ".join(f"{load} {_percent(share, 1)}" for load, share in pooled["by_load"].items())
        lines.append(f"- {name}: {_percent(pooled['all'], 1)} % of {pooled['windows']} windows ({by_load})")
    lines += ["", "Intervals that exclude the truth by far:"]
    for name in SAID:
        silent = found["missed_silently"][name]
        lines.append(
            f"- {RATIOS[name]}: {silent} windows miss by more than twice the half-width without a Caveat (none wanted)"
        )
    return lines


def _verdict(ratio: Sequence[float] | None, wanted: float) -> str:
    if ratio is None:
        return "no figure"
    value, low, high = ratio
    said = "" if high <= wanted else " (not met)" if low > wanted else " (not decided)"
    return f"{value:.2f} [{low:.2f}, {high:.2f}]{said}"
