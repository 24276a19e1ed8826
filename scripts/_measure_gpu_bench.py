"""What the benches of scripts/measure_gpu share: options, sources, how a mean of pairs is stated."""

from __future__ import annotations

import argparse
import json
import math
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _measure_gpu_plan import REHEARSED_GPU, SIMULATED_GPU

from harness.specs import SourcesSpec
from harness.stats import student_t_quantile

CONFIDENCE = 0.95
FEWEST_PAIRS = 3  # below it there is no interval worth the name


@dataclass(frozen=True)
class Asked:
    """What a bench was asked for. `simulated`: on an A100; `rehearsed`: on the H200 that is expected."""

    seconds: float
    out: Path
    gpu: int | str
    simulated: bool
    rehearsed: bool

    def how(self, clock: str) -> dict[str, Any]:
        """What of a run says where it is done; `clock`: of a simulated GPU."""
        if not self.simulated:
            return {"device": "cuda", "dtype": "bfloat16", "sources": SourcesSpec(gpus=(self.gpu,)).model_dump()}
        node = {"gpu": REHEARSED_GPU if self.rehearsed else SIMULATED_GPU, "clock": clock, "steady": True}
        how = {"engine": "simulated", "device": "cpu", "dtype": "bfloat16"}
        return how | {"sources": {"kind": "simulated", "node": node}}

    def write(self, document: Any) -> None:
        """Write what there is so far, whole: the bench may be stopped."""
        beside = self.out.with_name(f".{self.out.name}")
        beside.write_text(json.dumps(document, indent=1), encoding="utf-8")
        beside.replace(self.out)


def asked(about: str | None) -> Asked:
    """Read the options; asked to end, the process ends as by a Ctrl-C."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--simulated", action="store_true")
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--gpu", default="0")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)  # its helpers must not stay behind, least of all paused
    gpu = int(given.gpu) if given.gpu.isdecimal() else given.gpu
    return Asked(given.seconds, given.out, gpu, given.simulated or given.rehearse, given.rehearse)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean of independent values with its 95 % interval by Student's t.

    Returns:
        Mean, low end, high end; infinite ends below three values.
    """
    count = len(values)
    mean = math.fsum(values) / count
    if count < FEWEST_PAIRS:
        return mean, -math.inf, math.inf
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    half = student_t_quantile(CONFIDENCE, count - 1) * math.sqrt(variance / count)
    return mean, mean - half, mean + half


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Median of independent values with an interval of at least 95 % by the sign test, whatever they are drawn from.

    Returns:
        Median, low end, high end; infinite ends below six values, of which the sign test says nothing at 95 %.
    """
    ordered, count = sorted(values), len(values)
    median = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    below, outside = 0.0, -1  # the chance that at most `outside` of the values lie on one side
    while below + math.comb(count, outside + 1) / 2**count <= (1 - CONFIDENCE) / 2:
        outside += 1
        below += math.comb(count, outside) / 2**count
    if outside < 0:
        return median, -math.inf, math.inf
    return median, ordered[outside], ordered[count - 1 - outside]
