"""How good a model's answers are, as the user gives it: a CSV file of task, model, metric and value."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from harness.errors import UserInputError
from harness.reading import MOST_HOURLY_BYTES, read_limited_text
from harness.report.ranking import RankingRow

COLUMNS = ("task", "model", "metric", "value")
_HINT = f"Its first line is {','.join(COLUMNS)}; each further line one model's score, higher is better."
Scores = dict[tuple[str, str], tuple[str, float]]


def read_quality(path: Path) -> Scores:
    """Metric and value by task and model.

    Raises:
        UserInputError: The file cannot be read, holds no score, lacks a column, or holds a value that is no finite
            number, a model twice, or two metrics for one task, which cannot share an axis.
    """
    try:
        rows = list(csv.DictReader(read_limited_text(path, MOST_HOURLY_BYTES, "utf-8-sig", pipes=True).splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserInputError(f"Cannot read the scores in {path}: {reason}.", _HINT) from error
    scores: Scores = {}
    metrics: dict[str, str] = {}
    for line, row in enumerate(rows, 2):
        where = f"{path}, line {line}"
        missing = [name for name in COLUMNS if not row.get(name)]
        if missing:
            raise UserInputError(f"{where}: there is no {missing[0]}.", _HINT)
        task, model, metric, text = (row[name].strip() for name in COLUMNS)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UserInputError(f"{where}: {text!r} is no finite number.", _HINT)
        if (task, model) in scores:
            raise UserInputError(f"{where}: {model} on {task} is there a second time.", _HINT)
        if metrics.setdefault(task, metric) != metric:
            raise UserInputError(f"{where}: {task} has two metrics, {metrics[task]} and {metric}.", _HINT)
        scores[(task, model)] = (metric, value)
    if not scores:
        raise UserInputError(f"There is no score in {path}.", _HINT)
    return scores


def with_quality(rows: Sequence[RankingRow], scores: Scores) -> list[RankingRow]:
    """The rows with their models' scores; a model without one has none."""

    def scored(row: RankingRow) -> RankingRow:
        found = scores.get((row.task, row.model))
        return row if found is None else row.model_copy(update={"quality_metric": found[0], "quality": found[1]})

    return [scored(row) for row in rows]


def unmatched(rows: Sequence[RankingRow], scores: Scores) -> list[tuple[str, str]]:
    """Scores that fit no row, each with what is wrong with it."""
    known = {(row.task, row.model) for row in rows}
    return [
        (f"{model}, {task}: {metric} {value:g}", "no row has this model on this task")
        for (task, model), (metric, value) in scores.items()
        if (task, model) not in known
    ]
