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
        first = "task" if number == "2" else "model"
        for name in (first, "replayed", "from the data", "ratio", "agrees", "printed", "agrees"):
            table.add_column(name, justify="left" if name in (first, "agrees") else "right")
        for name in ("pairs that agree: node", "active GPU"):
            table.add_column(name, justify="right")
        for mean in own:
            value, half = mean.replayed_kwh.value, mean.replayed_kwh.half_width
            pairs = f"{mean.cells_agreeing_active_gpu} of {mean.cells}"
            if mean.cells < mean.cells_of_study:
                pairs += f" (study: {mean.cells_of_study})"
            table.add_row(
                *(mean.item, f"{value:.5f} ± {half:.5f}", f"{mean.data_kwh:.5f}", f"{mean.ratio:.4f}"),
                *(_WORDS[mean.agrees], "-" if mean.published_kwh is None else f"{mean.published_kwh:g}"),
                *(_WORDS[mean.published_agrees], f"{mean.cells_agreeing} of {mean.cells}", pairs),
            )
        out.print(table)
    out.print(
        "agrees: the replay's 95 % interval holds the mean of the study's data over the same pairs of model and "
        "dataset. printed: in the paper, rounded or cut off; - where not every pair was replayed. active GPU: our own "
        "count against the power that the study's runs are estimated to have had.",
        soft_wrap=True,
    )
