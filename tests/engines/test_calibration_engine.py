"""The fixed loads of a calibration, on the CPU: the same work and the same bits, and no load of another version."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from harness.engines.calibration import CalibrationEngine
from harness.errors import ModelUnavailable
from harness.specs import CALIBRATION_LOADS, CalibrationOf, ModelSpec, RunSpec
from harness.tasks.base import Request

NOW = "2026-11-29T12:00:00+00:00"


def calibration(load: str) -> RunSpec:
    return RunSpec(
        task="calibration",
        model=ModelSpec(id=load, weights="random"),
        engine="calibration",
        dtype="float32",
        device="cpu",
        calibration=CalibrationOf(campaign_started_at_utc=NOW),
    )


@pytest.mark.parametrize("load", CALIBRATION_LOADS)
def test_a_load_is_the_same_work_and_the_same_bits_every_time(load: str):
    engines = [CalibrationEngine(calibration(load)) for _ in "ab"]
    for engine in engines:
        engine.load()
        assert engine.run(engine.prepare([Request(0, "")] * 2)).requests == 2
        engine.synchronize()
    one, two = (engine._result for engine in engines)
    assert bool((one == two).all())
    assert one.shape == ((512, 512) if load == "matrix-products" else (2**22,))
    if load == "matrix-products":
        assert float(one.std()) == pytest.approx(512**0.5, rel=0.02)  # sums of 512 products of normal numbers
    else:
        assert bool((one == engines[0]._left).all())
        assert one.data_ptr() != engines[0]._left.data_ptr()
    for engine in engines:
        engine.close()


def test_a_load_of_another_version_is_refused():
    with pytest.raises(ModelUnavailable, match="no calibration load sieve"):
        CalibrationEngine(calibration("sieve")).load()
