"""What the data gives for a claim, one reading at a time: a named function of the study, with its words. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from harness.footprint.factors import factor
from harness.study.accounting import account
from harness.study.catalog import INFERENCES, TASKS, published, study_models
from harness.study.formulas import compute
from harness.study.runs import Study, StudyRun
from harness.units import J_PER_KWH, J_PER_WH, KM_PER_MILE, M_PER_MILE

SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
DISTILBERT = "distilbert-base-uncased"
WH_PER_KWH = J_PER_KWH / J_PER_WH

Reading = tuple[str, Callable[[Study], float | None]]


def phone(edition: str) -> float:
    """kWh per smartphone charge."""
    return factor("phone", edition).value


def grid(edition: str) -> float:
    """g CO2e per kWh."""
    return factor("grid", edition).value


MILE_G = factor("car", "epa-2023").value
STATED = f"at the stated {grid('study-stated'):g} g/kWh"
CHARGE_KWH = phone("epa-current")
# Numbers as they were printed: in the study, in what is quoted from it, in the press.
PRINTED_IMAGES = compute("[table 2 text-to-image mean_kwh]").value
PRINTED_CLASSIFICATION = compute("[table 2 text-classification mean_kwh]").value
SDXL_MILES, LEAST_MILES = compute("[quoted sdxl-miles]").value, compute("[quoted least-miles]").value
SEARCH_MILES = compute("[claim C407 1]").value


def kwh(runs: Sequence[StudyRun], of: Callable[[Sequence[float]], float] = statistics.fmean) -> float | None:
    """Mean (or another statistic) of the node's energy over runs; None without runs."""
    return of([run.node_kwh for run in runs]) if runs else None


def grams(runs: Sequence[StudyRun]) -> float | None:
    """Mean recorded emissions over runs; None without runs."""
    return statistics.fmean(run.carbon_g_co2e for run in runs) if runs else None


def times(value: float | None, by: float) -> float | None:
    """A product that stays unknown."""
    return None if value is None else value * by


def over(value: float | None, by: float | None) -> float | None:
    """A quotient that stays unknown."""
    return None if value is None or not by else value / by


def of_model(study: Study, task: str, model: str) -> list[StudyRun]:
    """The paper's runs of one model on one task."""
    return [run for run in study.paper_runs(task) if run.model == model]


def least(study: Study, *tasks: str) -> float | None:
    """The least mean energy of a model of the paper on these tasks."""
    means = []
    for task in tasks:
        runs = study.paper_runs(task)
        means += [kwh([run for run in runs if run.model == model]) for model in {run.model for run in runs}]
    return min((mean for mean in means if mean is not None), default=None)


def sdxl(study: Study) -> list[StudyRun]:
    """Runs of Stable Diffusion XL."""
    return of_model(study, "text-to-image", SDXL)


def family_ratio(study: Study, families: Sequence[str], active: bool = False) -> float | None:
    """Highest ratio of a family of prompted models to the task-specific ones, over tasks, mean by mean."""
    models = {entry.model: entry.family for entry in study_models() if entry.kind == "multi-purpose"}
    ratios = []
    for task in TASKS:
        specific = study.paper_runs(task)
        for family in families:
            runs = [run for run in study.runs if run.prompted and run.task == task and models.get(run.model) == family]
            if runs and specific:
                mine, theirs = account(runs), account(specific)
                pair = (mine.active_gpu_kwh, theirs.active_gpu_kwh) if active else (mine.node_kwh, theirs.node_kwh)
                ratios.append(over(*pair))
    return max((ratio for ratio in ratios if ratio is not None), default=None)


def worst_over_best(study: Study) -> float | None:
    """Highest mean of one of the eight multi-purpose models over the least of a task-specific one, on one task."""
    ours = [entry.model for entry in study_models() if entry.kind == "multi-purpose" and entry.in_paper]
    ratios = [over(kwh(study.prompted_runs(model, task)), least(study, task)) for task in TASKS for model in ours]
    return max((ratio for ratio in ratios if ratio is not None), default=None)


def parity(study: Study, model: str, per_inference: float | None) -> float | None:
    """Inferences of a model until the printed energy of its training and fine-tuning is reached."""
    return over(sum(_printed("5", model, name) for name in ("training_kwh", "fine_tuning_kwh")), per_inference)


def _printed(table: str, item: str, quantity: str) -> float:
    return published()[(table, item, quantity)].value


def _charges(run_statistic: str, edition: str, percent: bool = False, per: int = 1) -> Callable[[Study], float | None]:
    """kWh by name -> smartphone charges of an edition."""
    return lambda study: times(over(READINGS[run_statistic][1](study), phone(edition)), (100 if percent else 1) / per)


SENTIMENT: dict[str, Callable[[Study], list[StudyRun]]] = {
    "bert": lambda s: of_model(s, "text-classification", "nlptown/bert-base-multilingual-uncased-sentiment"),
    "flan": lambda s: s.prompted_runs("google/flan-t5-xl", "text-classification"),
    "bloomz": lambda s: s.prompted_runs("bigscience/bloomz-7b1", "text-classification"),
}


def _sentiment(name: str, stated_factor: bool) -> Callable[[Study], float | None]:
    """g CO2e of 1,000 classified texts, as recorded or at the factor that the study states."""
    runs = SENTIMENT[name]
    if stated_factor:
        return lambda study: times(kwh(runs(study)), grid("study-stated"))
    return lambda study: grams(runs(study))


def _parity(model: str, printed: bool) -> Callable[[Study], float | None]:
    """Inferences until a model has used what its training did, by the printed or the recorded energy of one."""
    if printed:
        return lambda study: parity(study, model, _printed("5", model, "inference_kwh"))
    return lambda study: parity(study, model, times(kwh(study.prompted_runs(model)), 1 / INFERENCES))


READINGS: dict[str, Reading] = {
    "total-node": ("all rows, the whole node", lambda s: s.totals.energy_kwh),
    "total-gpus": ("all rows, the GPUs alone", lambda s: s.totals.gpu_energy_kwh),
    "total-carbon": ("all rows, as recorded, of the whole node", lambda s: s.totals.emissions_kg),
    "total-node-stated-factor": (
        f"the whole node {STATED}",
        lambda s: s.totals.energy_kwh * grid("study-stated") / 1000,
    ),
    "total-gpus-recorded-factor": (
        "the GPUs' energy at the recorded factor",
        lambda s: s.totals.gpu_energy_kwh * s.totals.intensity_g_per_kwh / 1000,
    ),
    "total-gpus-stated-factor": (
        f"the GPUs' energy {STATED}",
        lambda s: s.totals.gpu_energy_kwh * grid("study-stated") / 1000,
    ),
    "intensity": ("recorded emissions over recorded energy", lambda s: s.totals.intensity_g_per_kwh),
    "sdxl-mean": ("mean of its runs", lambda s: kwh(sdxl(s))),
    "sdxl-max": ("the highest of its runs", lambda s: kwh(sdxl(s), max)),
    "sdxl-mean-stated-factor": ("mean at the stated factor", lambda s: times(kwh(sdxl(s)), grid("study-stated"))),
    "sdxl-max-recorded-factor": (
        "the highest run at the recorded factor",
        lambda s: times(kwh(sdxl(s), max), s.totals.intensity_g_per_kwh),
    ),
    "sdxl-max-stated-factor": (
        "the highest run at the stated factor",
        lambda s: times(kwh(sdxl(s), max), grid("study-stated")),
    ),
    "sdxl-mean-recorded": ("mean as recorded", lambda s: grams(sdxl(s))),
    "sdxl-miles-mean-stated-factor": (
        "mean at the stated factor",
        lambda s: times(kwh(sdxl(s)), grid("study-stated") / MILE_G),
    ),
    "sdxl-miles-stated-factor": (
        "the highest run at the stated factor",
        lambda s: times(kwh(sdxl(s), max), grid("study-stated") / MILE_G),
    ),
    "sdxl-miles-recorded-factor": (
        "the highest run at the recorded factor",
        lambda s: times(kwh(sdxl(s), max), s.totals.intensity_g_per_kwh / MILE_G),
    ),
    "sdxl-miles-mean-recorded": ("mean as recorded", lambda s: over(grams(sdxl(s)), MILE_G)),
    "image-mean": ("mean of the eight image models", lambda s: kwh(s.paper_runs("text-to-image"))),
    "textgen-best": ("the most efficient text generator, mean", lambda s: least(s, "text-generation")),
    "textgen-mean": ("mean of the eight text generators", lambda s: kwh(s.paper_runs("text-generation"))),
    "any-best": ("the most efficient model of any task, mean", lambda s: least(s, *TASKS)),
    "distilbert-max": (
        f"the highest run of {DISTILBERT}, on fill-mask",
        lambda s: kwh(of_model(s, "fill-mask", DISTILBERT), max),
    ),
    "printed-classification": (
        f"the printed mean of text classification, {PRINTED_CLASSIFICATION:g} kWh",
        lambda s: PRINTED_CLASSIFICATION,
    ),
    "sdxl-mean-charges-2023": ("mean of its runs", _charges("sdxl-mean", "epa-2023")),
    "sdxl-max-charges-2023": ("the highest of its runs", _charges("sdxl-max", "epa-2023")),
    "sdxl-mean-charges-2024": ("mean of its runs", _charges("sdxl-mean", "epa-2024")),
    "sdxl-max-charges-2024": ("the highest of its runs", _charges("sdxl-max", "epa-2024")),
    "image-mean-charges-2023": ("mean of the eight image models", _charges("image-mean", "epa-2023", per=INFERENCES)),
    "image-max-charges-2023": (
        "the highest run of the worst model",
        _charges("sdxl-max", "epa-2023", per=INFERENCES),
    ),
    "image-mean-charges-current": (
        f"mean of the eight image models, EPA's present {CHARGE_KWH:g} kWh per charge",
        _charges("image-mean", "epa-current", per=INFERENCES),
    ),
    "image-max-charges-current": (
        f"the highest run of the worst model, EPA's present {CHARGE_KWH:g} kWh per charge",
        _charges("sdxl-max", "epa-current", per=INFERENCES),
    ),
    **{
        f"{name}-charge-{year}": (words, _charges(name, f"epa-{year}", percent=True))
        for year in (2023, 2024)
        for name, words in (
            ("textgen-best", "the most efficient text generator, mean"),
            ("textgen-mean", "mean of the eight text generators"),
            ("any-best", "the most efficient model of any task, mean"),
            ("distilbert-max", f"the highest run of {DISTILBERT}, on fill-mask"),
            ("printed-classification", f"the printed mean of text classification, {PRINTED_CLASSIFICATION:g} kWh"),
        )
    },
    "distilbert-generation-miles": (
        f"{DISTILBERT} on text-generation",
        lambda s: over(grams(of_model(s, "text-generation", DISTILBERT)), MILE_G),
    ),
    "distilbert-fill-mask-miles": (
        f"{DISTILBERT} on fill-mask, where it was run",
        lambda s: over(grams(of_model(s, "fill-mask", DISTILBERT)), MILE_G),
    ),
    "distilbert-fill-mask-miles-stated-factor": (
        f"{DISTILBERT} on fill-mask {STATED}",
        lambda s: times(kwh(of_model(s, "fill-mask", DISTILBERT)), grid("study-stated") / MILE_G),
    ),
    "distilgpt2-generation-miles": (
        "distilgpt2, the most efficient text generator",
        lambda s: over(grams(of_model(s, "text-generation", "distilgpt2")), MILE_G),
    ),
    "printed-least-metre": ("of the printed miles", lambda s: LEAST_MILES * M_PER_MILE),
    "printed-sdxl-km": ("of the printed miles", lambda s: SDXL_MILES * KM_PER_MILE),
    "textgen-searches-one": (
        "mean of text generation, one inference against one search, by energy",
        lambda s: times(
            kwh(s.paper_runs("text-generation")), WH_PER_KWH / INFERENCES / factor("web-search", "google-2009").value
        ),
    ),
    "printed-distances": (
        f"the article's own distances, {LEAST_MILES:.4f} miles for 1,000 inferences against "
        f"{SEARCH_MILES:.4f} for one search",
        lambda s: LEAST_MILES / SEARCH_MILES,
    ),
    "models-in-data": (
        "models of the paper's table that have runs",
        lambda s: float(
            sum(len({run.model for run in s.paper_runs(task)}) for task in TASKS)
            + sum(1 for e in study_models() if e.kind == "multi-purpose" and e.in_paper and s.prompted_runs(e.model))
        ),
    ),
    "task-datasets": (
        "pairs of task and dataset",
        lambda s: float(len({(task, run.dataset) for task in TASKS for run in s.paper_runs(task) if run.dataset})),
    ),
    "dataset-names": (
        "different datasets by name",
        lambda s: float(len({run.dataset for task in TASKS for run in s.paper_runs(task) if run.dataset})),
    ),
    "image-over-classification": (
        "mean over mean",
        lambda s: over(kwh(s.paper_runs("text-to-image")), kwh(s.paper_runs("text-classification"))),
    ),
    "image-over-classification-printed": (
        f"the printed means, {PRINTED_IMAGES:g} over {PRINTED_CLASSIFICATION:g}",
        lambda s: PRINTED_IMAGES / PRINTED_CLASSIFICATION,
    ),
    "multi-highest-family-ratio": (
        "Flan-T5 or BLOOMz, whichever is higher on the task where it is highest, the node as recorded",
        lambda s: family_ratio(s, ("flan-t5", "bloomz")),
    ),
    "multi-highest-family-ratio-active": (
        "the same for the GPU that worked",
        lambda s: family_ratio(s, ("flan-t5", "bloomz"), active=True),
    ),
    "multi-worst-over-best-model": ("the worst of the eight over the best task-specific model", worst_over_best),
    "multi-untuned-ratio": (
        "models not taught to follow instructions, which are not in the paper",
        lambda s: family_ratio(s, ("untuned",)),
    ),
    **{
        f"sentiment-{name}-{suffix}": (words, _sentiment(name, stated))
        for name in SENTIMENT
        for suffix, words, stated in (
            ("carbon", "as recorded", False),
            ("stated-factor", STATED, True),
        )
    },
    **{
        f"parity-{size}-{name}": (words, _parity(f"bigscience/bloomz-{full}", printed))
        for size, full in (("7b", "7b1"), ("3b", "3b"), ("1b7", "1b7"), ("560m", "560m"))
        for name, words, printed in (
            ("data", "with the mean energy per inference of the data", False),
            ("printed", "with the printed, rounded energy per inference", True),
        )
    },
    "sdxl-over-least": (
        f"Stable Diffusion XL over {DISTILBERT}, mean recorded emissions",
        lambda s: over(grams(sdxl(s)), grams(of_model(s, "fill-mask", DISTILBERT))),
    ),
    "sdxl-over-least-generator": (
        "Stable Diffusion XL over distilgpt2, the least text generator, mean recorded emissions",
        lambda s: over(grams(sdxl(s)), grams(of_model(s, "text-generation", "distilgpt2"))),
    ),
    "printed-miles-ratio": (
        f"the printed miles, {SDXL_MILES:g} over {LEAST_MILES:.4f}",
        lambda s: SDXL_MILES / LEAST_MILES,
    ),
}
