"""Arithmetic that stands in a data file: numbers, + - * / ** and names in brackets that look a value up. Pure.

[training-cost gpt4-2023]                   a factor, in its unit (harness list factors)
[training-cost gpt4-2023 low]               an end of its range, low or high
[study distilgpt2 text-generation mean_kwh] a column of harness/data/study.csv
[table 2 text-generation mean_kwh]          a number that the study prints (study_published.csv)
[quoted sdxl-energy]                        a number that is quoted from the study (study_claims.csv)
[claim C312 1]                              a number of a claim of the press, by its place (press_claims.csv)
[input C309 needed]                         a number of a claim's source, for its arithmetic alone (press_inputs.csv)
[paper models]                              how many models are in the paper
[months KIND EDITION EDITION]               months between two factors' years
[km per mile], [m per mile], [Wh per kWh]   exact units
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from harness.footprint.factors import Factor, factor
from harness.footprint.trends import months_between
from harness.study.catalog import published, read_data, study_models
from harness.study.models import reference
from harness.units import J_PER_KWH, J_PER_WH, KM_PER_MILE, M_PER_MILE

_NAME = re.compile(r"\[([^\]]+)\]")
_EXACT = {"km per mile": KM_PER_MILE, "m per mile": M_PER_MILE, "Wh per kWh": J_PER_KWH / J_PER_WH}
_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


@dataclass(frozen=True)
class Computed:
    """The value of a formula, and the factors that it looked up."""

    value: float
    formula: str
    factors: tuple[Factor, ...]


def compute(formula: str) -> Computed:
    """The value of a formula of a data file.

    Raises:
        ValueError: It is no arithmetic, or looks up what is not there (an error of ours, not of the user).
        UserInputError: It names a factor that is not there.
    """
    values: dict[str, float] = {}
    factors: list[Factor] = []

    def named(match: re.Match[str]) -> str:
        key = f"x{len(values)}"
        values[key] = _look_up(match[1], factors)
        return key

    try:
        tree = ast.parse(_NAME.sub(named, formula).strip(), mode="eval")
        value = _value(tree.body, values)
    except (SyntaxError, ZeroDivisionError, OverflowError) as error:
        raise ValueError(f"{formula!r} is no arithmetic: {error}") from error
    return Computed(value, formula, tuple(dict.fromkeys(factors)))


def _value(node: ast.expr, values: dict[str, float]) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return float(node.value)
    if isinstance(node, ast.Name) and node.id in values:
        return values[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, values)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        found = _OPERATORS[type(node.op)](_value(node.left, values), _value(node.right, values))
        if isinstance(found, complex):
            raise ValueError("a power of a negative number is no number here")
        return float(found)
    raise ValueError(f"{ast.unparse(node)!r} is no arithmetic of numbers and names in brackets")


def _look_up(name: str, factors: list[Factor]) -> float:
    words = name.split()
    if name in _EXACT:
        return _EXACT[name]
    if name == "paper models":
        return float(sum(entry.in_paper for entry in study_models()))
    if words[0] == "study" and len(words) == 4:
        rows = [row for row in reference() if (row.row, row.model, row.task) == ("paper", words[1], words[2])]
        if not rows:
            raise ValueError(f"[{name}]: the study has no such model and task")
        return float(getattr(rows[0], words[3]))
    if words[0] == "table" and len(words) == 4:
        return published()[(words[1], words[2], words[3])].value
    if words[0] == "quoted" and len(words) == 2:
        return next(float(row["published"]) for row in read_data("study_claims.csv") if row["id"] == words[1])
    if words[0] == "claim" and len(words) == 3:
        stated = next(row["stated"] for row in read_data("press_claims.csv") if row["id"] == words[1])
        return float(stated.split(";")[int(words[2]) - 1])
    if words[0] == "input" and len(words) == 3:
        rows_of = {(row["claim"], row["name"]): row["value"] for row in read_data("press_inputs.csv")}
        return float(rows_of[words[1], words[2]])
    if words[0] == "months" and len(words) == 4:
        pair = [factor(words[1], edition) for edition in words[2:]]
        factors.extend(pair)
        return float(months_between(str(pair[0].year), str(pair[1].year)))
    if len(words) == 3 and words[2] in ("low", "high"):
        factors.append(factor(words[0], words[1]))
        end = factors[-1].low if words[2] == "low" else factors[-1].high
        if end is None:
            raise ValueError(f"[{name}]: no such end is known")
        return end
    if len(words) == 2:
        factors.append(factor(words[0], words[1]))
        return factors[-1].value
    raise ValueError(f"[{name}] names nothing that can be looked up")
