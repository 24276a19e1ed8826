"""What is known of the study without its raw data: the models, the printed numbers, and how its files are named."""

from __future__ import annotations

import csv
import functools
import math
from importlib.resources import files
from typing import Literal, get_args

from pydantic import Field

from harness.frozen import Frozen
from harness.specs import ModelTask

PAPER = "Luccioni, Jernite, Strubell, Power Hungry Processing, FAccT 2024, arXiv:2311.16863"
PAPER_URL = "https://arxiv.org/abs/2311.16863"
REPOSITORY = "github sashavor/co2_inference @9ae9895"
INFERENCES = 1000  # per run; section 3.2 of the paper

TASKS: tuple[str, ...] = get_args(ModelTask)  # in the order of Table 2
IMAGE_INPUT = ("image-classification", "object-detection", "image-to-text")  # the paper uses their _resized files

# How a file of emissions/complete starts -> task, and whether general models were prompted for it (no training on it).
FILE_PREFIXES: dict[str, tuple[str, bool]] = {
    "zeroshot_qa_": ("question-answering", True),
    "zeroshot_sentiment_": ("text-classification", True),
    "zeroshot_summarize_": ("summarization", True),
    "text_classif_": ("text-classification", False),
    "qa_": ("question-answering", False),
    "fillmask_": ("fill-mask", False),
    "token_classif_": ("token-classification", False),
    "image_class_": ("image-classification", False),
    "obj_detection_": ("object-detection", False),
    "textgen_": ("text-generation", False),
    "summarize_": ("summarization", False),
    "itt_": ("image-to-text", False),
    "tti_": ("text-to-image", False),
}
_DATASETS = {"squadv2": "squad2", "rotten_tomatoes": "tomatoes", "Squad_2_": "squad2", "sst": "sst2"}
_MODELS = {"bigscience/bloomz-1b": "bigscience/bloomz-1b7", "bigscience/bloomz-7b": "bigscience/bloomz-7b1"}


class StudyModel(Frozen):
    """One model and what it did in the study. The eight multi-purpose models have no task of their own."""

    model: str
    task: str | None
    kind: Literal["task-specific", "multi-purpose"]
    family: str | None = Field(description="of multi-purpose models; untuned: not taught to follow instructions")
    in_paper: bool = Field(description="one of the 88; the others are in the data only")
    parameters: int | None
    note: str | None


class Published(Frozen):
    """One printed number, with its digits."""

    table: str
    item: str
    quantity: str
    text: str

    @property
    def value(self) -> float:
        """The number."""
        return float(self.text)

    def agrees(self, value: float) -> bool:
        """Whether a value rounds to the printed digits (half a unit of the last one, ties included)."""
        return abs(value - self.value) <= 0.5 * self.unit * (1 + 1e-9)

    def truncates(self, value: float) -> bool:
        """Whether a value gives the printed digits when the rest is cut off."""
        return math.floor(value / self.unit + 1e-9) == round(self.value / self.unit)

    @property
    def unit(self) -> float:
        """One of the last printed digit."""
        return float(10.0 ** -(len(self.text.partition(".")[2]) if "." in self.text else 0))


@functools.cache
def study_models() -> tuple[StudyModel, ...]:
    """The 88 models by task, then the eight multi-purpose ones, with the others that the data holds."""
    return tuple(
        StudyModel(
            model=row["model"],
            task=row["task"] or None,
            kind="task-specific" if row["kind"] == "task-specific" else "multi-purpose",
            family=row["family"] or None,
            in_paper=row["in_paper"] == "yes",
            parameters=int(row["parameters"]) if row["parameters"] else None,
            note=row["note"] or None,
        )
        for row in read_data("study_models.csv")
    )


@functools.cache
def published() -> dict[tuple[str, str, str], Published]:
    """Printed numbers by table ("2", "3", "5", "text"), item and quantity."""
    return {
        (row["table"], row["item"], row["quantity"]): Published(
            table=row["table"], item=row["item"], quantity=row["quantity"], text=row["value"]
        )
        for row in read_data("study_published.csv")
    }


def trainings_kwh() -> dict[str, float]:
    """Training and fine-tuning of each model of Table 5, kWh as printed."""
    parts = {"training_kwh", "fine_tuning_kwh"}
    models = {item for table, item, quantity in published() if table == "5" and quantity in parts}
    return {model: sum(published()[("5", model, part)].value for part in parts) for model in sorted(models)}


def read_data(name: str) -> list[dict[str, str]]:
    """Rows of a CSV file that ships with the harness; lines that start with # are comments."""
    text = files("harness").joinpath("data", name).read_text(encoding="utf-8")
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


def file_meaning(stem: str) -> tuple[str, str, bool, bool] | None:
    """Task, dataset, prompted, resized of a file of emissions/complete by its name without .csv; None if unknown.

    >>> file_meaning("obj_detection_CPPE_resized"), file_meaning("zeroshot_qa_squad2_bloomz")
    (('object-detection', 'CPPE', False, True), ('question-answering', 'squad2', True, False))
    """
    for prefix, (task, prompted) in FILE_PREFIXES.items():
        if stem.startswith(prefix):
            rest = stem.removeprefix(prefix).removesuffix("_bloomz").removesuffix("_15")
            dataset = rest.removesuffix("_resized")
            return task, dataset_name(dataset), prompted, dataset != rest
    return None


def dataset_name(name: str) -> str:
    """One name per dataset; the files write some of them in two ways."""
    return _DATASETS.get(name, name)


def model_name(name: str) -> str:
    """The hub id of a model; the files of lengths write two of them short."""
    return _MODELS.get(name, name)
