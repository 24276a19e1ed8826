"""Figures as self-contained pages. The only file that knows plotly."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from harness.errors import StoreError
from harness.measure.phases import PhaseFit, PhaseRun

_BLUE, _RED, _GREY = "#1f77b4", "#d62728", "#888888"


def phases_figure(fit: PhaseFit) -> go.Figure:
    """Measured against fitted energy of a batch, and each run's residual in its own standard uncertainties."""
    runs = fit.runs
    labels = [run_label(run, fit.kind) for run in runs]
    colours = [_RED if abs(run.residual_u) > 2 else _BLUE for run in runs]
    figure = make_subplots(
        rows=2,
        cols=1,
        subplot_titles=("Measured against fitted", "Residuals (±2 u shaded)"),
        vertical_spacing=0.17,
    )
    ends = [min(run.fitted_j for run in runs), max(run.fitted_j for run in runs)]
    figure.add_trace(
        go.Scatter(x=ends, y=ends, mode="lines", line={"color": _GREY, "dash": "dot"}, hoverinfo="skip"), row=1, col=1
    )
    figure.add_trace(
        go.Scatter(
            x=[run.fitted_j for run in runs],
            y=[run.energy_j for run in runs],
            error_y={"type": "data", "array": [1.96 * run.own_u_j for run in runs]},
            mode="markers",
            marker={"color": colours, "size": 8},
            text=labels,
            hovertemplate="%{text}<br>fitted %{x:.4g} J, measured %{y:.4g} J<extra></extra>",
        ),
        row=1,
        col=1,
    )
    figure.add_trace(
        go.Scatter(
            x=[run.fitted_j for run in runs],
            y=[run.residual_u for run in runs],
            mode="markers",
            marker={"color": colours, "size": 8},
            text=labels,
            hovertemplate="%{text}<br>%{y:.2f} standard uncertainties<extra></extra>",
        ),
        row=2,
        col=1,
    )
    # After its points: plotly shades no empty plot.
    figure.add_hrect(y0=-2, y1=2, fillcolor=_GREY, opacity=0.15, line_width=0, row=2, col=1)
    axis = "log" if ends[0] > 0 and min(run.energy_j for run in runs) > 0 else "linear"
    figure.update_xaxes(title_text="fitted, J per batch", type=axis)
    figure.update_yaxes(title_text="measured, J per batch", type=axis, row=1, col=1)
    reach = max(2.5, *(1.1 * abs(run.residual_u) for run in runs))  # the shaded band is always in sight
    figure.update_yaxes(title_text="measured less fitted, in u", range=[-reach, reach], row=2, col=1)
    margin = {"l": 60, "r": 15, "t": 40, "b": 50}
    figure.update_layout(showlegend=False, template="plotly_white", height=760, margin=margin)
    return figure


def figure_title(fit: PhaseFit) -> str:
    """Model, board, and whose energy it is."""
    mark = ", replay, simulated" if fit.replay else ", SIMULATED: no model's energy" if fit.simulated else ""
    return f"{fit.setting['model']}, {fit.setting['task']}, {fit.setting['dtype']}, {fit.setting['board']}{mark}"


def run_label(run: PhaseRun, kind: str) -> str:
    """What a run was asked, in a few words."""
    if kind == "image":
        return f"batch {run.batch_size}, {run.steps:.0f} steps, {run.megapixels:.2f} Mpx"
    return f"batch {run.batch_size}, {run.input_tokens:.0f} in, {run.output_tokens:.0f} out"


_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Energy, phase by phase</title>
<style>body { font-family: sans-serif; max-width: 900px; margin: 1em auto; padding: 0 0.5em }
h2 { font-size: 1em; overflow-wrap: anywhere }</style></head>
<body>
"""


def write_phases_page(fits: Sequence[PhaseFit], path: Path) -> None:
    """One page with a figure for each fit; it needs nothing from the network.

    Raises:
        StoreError: The file cannot be written.
    """
    parts = [
        f"<h2>{html.escape(figure_title(fit))}</h2>\n"
        + phases_figure(fit).to_html(full_html=False, include_plotlyjs=index == 0, config={"responsive": True})
        for index, fit in enumerate(fits)
    ]
    page = f"{_HEAD}{chr(10).join(parts)}\n</body></html>\n"
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"Cannot write {path}: {error.strerror or error}.", "Give a file in a folder that exists and is writable."
        ) from error
