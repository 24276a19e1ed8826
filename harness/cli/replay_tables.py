"""Replayed means beside the study's on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from harness.study.replay import ReplayedMean

_TITLES = {
    "2": "Table 2 replayed, simulated: kWh per 1,000 inferences, the node as study-2023 counted it",
    "3": "Table 3 replayed, simulated: multi-purpose models, the same",
}
_WORDS = {True: "yes", False: "[red]no[/]", None: "-"}


def print_replayed(means: Sequence[ReplayedMean], out: Console) -> None:
    """A table of tasks, a table of multi-purpose models, and how to read them."""
    for number, title in _TITLES.items():
        own = [mean for mean in means if mean.table == number]
        if not own:
            continue
        table = Table(title=title, title_justify="left")
        for name in ("task" if number == "2" else "model", "replayed", "from the data", "ratio", "agrees", "printed"):
            table.add_column(name, justify="left" if name in ("task", "model", "agrees") else "right")
        table.add_column("to its digits")
        table.add_column("pairs that agree", justify="right")
        for mean in own:
            value, half = mean.replayed_kwh.value, mean.replayed_kwh.half_width
            pairs = f"{mean.cells_agreeing} of {mean.cells}"
            if mean.cells < mean.cells_of_study:
                pairs += f" (study: {mean.cells_of_study})"
            table.add_row(
                *(mean.item, f"{value:.5f} ± {half:.5f}", f"{mean.data_kwh:.5f}", f"{mean.ratio:.4f}"),
                *(_WORDS[mean.agrees], "-" if mean.published_kwh is None else f"{mean.published_kwh:g}"),
                *(_WORDS[mean.published_digits], pairs),
            )
        out.print(table)
    out.print(
        "agrees: the replay's 95 % interval holds the mean of the study's data over the same pairs of model and "
        "dataset. printed: in the paper; - where not every pair was replayed.",
        soft_wrap=True,
    )
