"""The node of GPUs that is simulated, and what may go wrong on it: frozen types of a spec."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from harness.frozen import Frozen, Positive

FaultKind = Literal[
    "foreign-load",
    "hidden-load",
    "throttle",
    "thermal-throttle",
    "power-cap",
    "clock-step",
    "thermal-drift",
    "counter-reset",
    "counter-stuck",
    "counter-jump",
    "sensor-stuck",
    "sensor-lost",
    "gpu-lost",
    "utc-step",
]
_FRACTIONS = ("foreign-load", "hidden-load", "throttle", "thermal-throttle", "power-cap", "clock-step")
_CHANGES = ("thermal-drift", "counter-jump", "utc-step")
_INSTANTS = ("counter-reset", "counter-jump", "utc-step")


class SimulatedFault(Frozen):
    """Something that goes wrong on a simulated board at a known time. What each kind does: simulation/faults.py."""

    kind: FaultKind
    at_s: float = Field(ge=0, description="seconds after the node's start")
    duration_s: Positive | None = Field(None, description="None: to the end; instants (resets, jumps, steps) have none")
    value: float | None = Field(
        None,
        description="load fraction (loads), fraction of the clock that is left (throttles, clock-step), change in °C "
        "(thermal-drift), J (counter-jump) or s (utc-step), NVML's return code (sensor-lost); none for the others",
    )
    gpu: int = Field(0, ge=0, description="index of the board; utc-step: of the machine, 0")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> SimulatedFault:
        value = self.value
        if self.kind in _FRACTIONS and (value is None or not 0 < value <= 1):
            raise ValueError(f"a {self.kind} needs a value above 0 and up to 1")
        if self.kind in _CHANGES and not value:
            raise ValueError(f"a {self.kind} needs a value: the change, not 0")
        if self.kind == "sensor-lost" and value is not None and value not in range(1, 1000):
            raise ValueError("the value of a sensor-lost is an NVML return code, 1 to 999")
        if self.kind not in (*_FRACTIONS, *_CHANGES, "sensor-lost") and value is not None:
            raise ValueError(f"a {self.kind} has no value")
        if self.kind in _INSTANTS and self.duration_s is not None:
            raise ValueError(f"a {self.kind} happens at an instant and has no duration_s")
        if self.kind == "thermal-drift" and self.duration_s is None:
            raise ValueError("a thermal-drift needs a duration_s, in which it rises; it stays afterwards")
        if self.kind == "utc-step" and self.gpu != 0:
            raise ValueError("a utc-step is of the whole machine: leave gpu out")
        return self


class SimulatedNodeSpec(Frozen):
    """A machine with simulated GPUs."""

    gpu: str = "A100-SXM4-80GB"
    gpu_count: Annotated[int, Field(ge=1, le=8)] = 1
    clock: Literal["real", "virtual"] = "real"
    counter: Literal["sensor", "truth"] = Field(
        "sensor", description="what the energy counter adds up: the sensor's readings, or the true power"
    )
    seed: int = 0
    conditions: tuple[Literal["mig", "foreign-process", "no-counter", "throttled"], ...] = Field(
        (), description="what is wrong with this machine, to see how the harness answers"
    )
    faults: tuple[SimulatedFault, ...] = Field((), description="what goes wrong on it at known times")
    counter_period_s: Positive | None = Field(None, description="how often the counter moves; None: with the sensor")
    counter_lag_s: float = Field(0.0, ge=0, description="how much later than it is counted the counter is shown")
    idle_w: Positive | None = Field(None, description="idle power of each board; None: that of the profile")
    steady: bool = Field(
        False, description="no warming, no uplift after load: one power per load from the first second"
    )

    @model_validator(mode="after")
    def _faults_on_its_boards(self) -> SimulatedNodeSpec:
        for fault in self.faults:
            if fault.gpu >= self.gpu_count:
                raise ValueError(f"a {fault.kind} is on GPU {fault.gpu}, but the node has {self.gpu_count} (gpu_count)")
        return self
