"""What is known about a board's built-in power sensor: by device name, driver branch and NVML field, or from a file.

Profiles live in harness/data/sensor_profiles.csv with their source. A board that is not on record gets the
conservative profile `unknown`, and callers attach a Caveat.
"""

from __future__ import annotations

import csv
import difflib
import math
import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import Field, ValidationError, model_validator

from harness.errors import UserInputError
from harness.frozen import Frozen, Kernel
from harness.reading import MOST_CONFIG_BYTES, read_limited_text
from harness.records import SourceInfo

# Rectangular ±5 %, NVML's own statement for power readings; and ±3 W for the offset (protocol.md).
UNCALIBRATED_GAIN_U = 0.05 / math.sqrt(3)
UNCALIBRATED_OFFSET_U_W = 3.0 / math.sqrt(3)
LONG_MEMORY_PERIODS = 1.5  # a boxcar of about a period is not called long
NVML_RESOLUTION_W = 0.001  # NVML answers in whole milliwatts

NvmlField = Literal["power.draw", "power.draw.instant", "power.draw.average"]


class SensorProfile(Frozen, strict=True):
    """How a sensor turns true power into readings: reading = gain * kernel(power)(t - delay) + offset.

    A profile file holds these keys; `tau_s` (half of `window_s`) may stand for `window_s`, and so may `width_s`.
    """

    name: str
    matches: str = Field("", description="regular expression that NVML's device name must contain; empty: none")
    nvml_field: NvmlField = "power.draw.instant"
    driver_branch: int | None = Field(None, description="first number of the driver's version; None: any")
    kernel: Kernel
    period_s: float = Field(gt=0, description="a new reading this often (P)")
    window_s: float = Field(gt=0, description="what one reading of the kernel sees: boxcar width, or 2 tau (W_eff)")
    delay_s: float = Field(
        0.0, description="from the end of what a reading sees to its publication; negative: two clocks differed"
    )
    mean_of: int = Field(1, ge=1, description="a reading is the mean of this many kernel outputs, one per period")
    gain: float = Field(1.0, gt=0)
    offset_w: float = 0.0
    gain_relative_u: float = Field(UNCALIBRATED_GAIN_U, ge=0, description="standard uncertainty of the gain, fraction")
    offset_u_w: float = Field(UNCALIBRATED_OFFSET_U_W, ge=0, description="standard uncertainty of the offset")
    resolution_w: float = Field(NVML_RESOLUTION_W, ge=0, description="readings are whole multiples; 0: not rounded")
    counter_step_j: float | None = Field(None, gt=0, description="step of the energy counter; None without one")
    counter_period_s: float | None = Field(None, gt=0, description="how often the counter moves; None: not known")
    counter_integrates: Literal["readings", "power"] | None = Field(
        None, description="whether the counter adds up readings or sees what they miss; None: not known"
    )
    simulated: bool = Field(False, description="found on a simulated board: says nothing about a real one")
    source: str = ""
    note: str = ""
    not_trusted: str = Field(
        "", description="what of this profile must not be believed; empty: nothing known against it"
    )

    @property
    def tau_s(self) -> float:
        """Time constant of a first-order kernel with the same noise-equivalent window."""
        return self.window_s / 2

    @property
    def calibrated(self) -> bool:
        """The gain is known better than NVML's own ±5 %."""
        return self.gain_relative_u < UNCALIBRATED_GAIN_U

    @property
    def memory_s(self) -> float:
        """How far back a published reading reaches: the kernel's window and the earlier ones averaged with it."""
        return self.window_s + (self.mean_of - 1) * self.period_s

    @property
    def long_memory(self) -> bool:
        """Readings overlap: none shows a short peak, and each smears what lies around it."""
        return self.memory_s > LONG_MEMORY_PERIODS * self.period_s

    @model_validator(mode="before")
    @classmethod
    def _one_name_for_the_window(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        given = [key for key in ("window_s", "width_s", "tau_s") if content.get(key) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of window_s, width_s and tau_s, not {' and '.join(given)}")
        content = dict(content)
        for key, factor in (("width_s", 1), ("tau_s", 2)):
            value = content.pop(key, None)
            if value is not None:
                content["window_s"] = value * factor if isinstance(value, int | float) else value
        return content


# --- on record ------------------------------------------------------------------------------------------


@cache
def sensor_profiles() -> tuple[SensorProfile, ...]:
    """Every profile on record, specific ones before generic ones, `unknown` last."""
    return tuple(_from_row(row) for row in _rows() if row["kernel"])


def unavailable_fields() -> tuple[tuple[str, int | None, str], ...]:
    """(device pattern, driver branch, NVML field) of what boards on record did not offer or what was not determined."""
    return tuple(
        (row["matches"], _whole(row["driver_branch"]), row["nvml_field"]) for row in _rows() if not row["kernel"]
    )


@cache
def profile_for(
    device_name: str, driver: str | None = None, nvml_field: NvmlField = "power.draw.instant"
) -> SensorProfile:
    """The profile of a board by its NVML name, or `unknown`.

    Args:
        driver: Version as NVML gives it ("535.54.03"). A row of the same branch is preferred to one for any driver; a
            row of another branch is never used, because drivers changed what a field means.
        nvml_field: The field that is sampled.
    """
    branch = _branch(driver)
    *known, unknown = sensor_profiles()
    fitting = [
        profile
        for profile in known
        if profile.nvml_field == nvml_field
        and profile.driver_branch in (branch, None)
        and re.search(profile.matches, device_name)
    ]
    return min(fitting, key=lambda profile: profile.driver_branch is None, default=unknown)


NEGLIGIBLE_KAPPA = 0.005


def undersampled_fraction(period_s: float, window_s: float, kernel: Kernel | None = None) -> float:
    """kappa: how unevenly a sensor's readings together weigh the time, from 0 (all alike) to 1 (an instant is seen).

    The sum of readings weighs each instant by w, which repeats every period and is 1 on average; kappa is the mean of
    (w - 1)^2, times W/P. A boxcar narrower than the period leaves 1 - W/P unseen, and that is kappa. A wider one that
    is no multiple of the period sees a part of each period once more than the rest: f (1 - f) / (W/P), f the fraction
    of W/P. First order with W = 2 tau: coth(P/W) - W/P.

    Args:
        period_s: Between readings, P.
        window_s: What one reading sees, W.
        kernel: None is taken for a boxcar.

    Returns:
        0 below half a per cent, which no sensor's period and window are known to.
    """
    ratio = window_s / period_s
    if ratio <= 1e-9:
        return 1.0
    if kernel == "first_order":
        kappa = 1 / math.tanh(1 / ratio) - ratio if ratio < 1e3 else 0.0
    else:
        part = ratio - math.floor(ratio)
        kappa = part * (1 - part) / ratio
    return kappa if kappa >= NEGLIGIBLE_KAPPA else 0.0


def unseen_fraction(info: SourceInfo) -> float:
    """kappa of a source's power readings."""
    return undersampled_fraction(info.sensor_period_s, info.sensor_window_s, info.sensor_kernel)


def _branch(driver: str | None) -> int | None:
    digits = re.match(r"\d+", driver or "")
    return int(digits.group()) if digits else None


def _whole(text: str) -> int | None:
    return int(text) if text else None


@cache
def _rows() -> tuple[dict[str, str], ...]:
    text = resources.files("harness").joinpath("data/sensor_profiles.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


def _from_row(row: dict[str, str]) -> SensorProfile:
    given = {key: value for key, value in row.items() if value != "" and key != "boards"}
    return SensorProfile.model_validate(given, strict=False)


# --- from a file ----------------------------------------------------------------------------------------


def named_profile(name_or_path: str) -> SensorProfile:
    """A profile on record by its name, or one from a YAML file by its path.

    Raises:
        UserInputError: Neither exists (the nearest names are offered), or the file is not a profile.
    """
    by_name = {profile.name.lower(): profile for profile in sensor_profiles()}
    if name_or_path.lower() in by_name:
        return by_name[name_or_path.lower()]
    path = Path(name_or_path)
    if path.is_file() or path.suffix.lower() in (".yaml", ".yml"):
        return read_profile(path)
    near = difflib.get_close_matches(name_or_path.lower(), by_name, n=3, cutoff=0.5)
    guess = f"Did you mean {', '.join(by_name[each].name for each in near)}? " if near else ""
    raise UserInputError(
        f"There is no sensor profile '{name_or_path}'.",
        f"{guess}Give a name that `harness sensor profiles` lists, or a YAML file.",
    )


def read_profile(path: Path) -> SensorProfile:
    """Read a profile file (YAML; keys as in SensorProfile, unknown ones are refused).

    `name` defaults to the file's own, `source` to the file.

    Raises:
        UserInputError: No such file, not YAML, an unknown key, a missing or a wrong value.
    """
    try:
        content = yaml.safe_load(read_limited_text(path, MOST_CONFIG_BYTES))
    except OSError as error:
        raise UserInputError(
            f"Cannot read the sensor profile {path}: {error.strerror or error}.",
            "`harness sensor fit` and `harness sensor characterize` write such files.",
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserInputError(
            f"{path} is not valid YAML: {reason}.", "A profile is a plain list of `key: value`."
        ) from error
    if not isinstance(content, dict):
        raise UserInputError(
            f"{path} is not a sensor profile: it holds no `key: value` pairs.", f"Keys: {_keys_text()}."
        )
    try:
        return SensorProfile.model_validate({"name": path.stem, "source": f"file {path.name}"} | content)
    except ValidationError as error:
        raise _explained(path, error) from error


def write_profile(profile: SensorProfile, path: Path) -> None:
    """Write a profile file that `read_profile` gives back unchanged.

    Raises:
        UserInputError: The file cannot be written.
    """
    text = yaml.safe_dump(profile.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)
    try:
        path.write_text(f"# Sensor profile of the Energy Harness; SI units.\n{text}", encoding="utf-8")
    except OSError as error:
        raise UserInputError(f"Cannot write {path}: {error.strerror or error}.", "Choose another path.") from error


def _explained(path: Path, error: ValidationError) -> UserInputError:
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, [*SensorProfile.model_fields, "tau_s", "width_s"], n=1, cutoff=0.5)
        hint = f"Did you mean '{near[0]}'?" if near else f"Keys: {_keys_text()}."
        return UserInputError(f"{path}: unknown key '{key}'.", hint)
    if first["type"] == "missing":
        return UserInputError(f"{path}: '{key}' is missing.", f"A profile needs {_keys_text(required=True)}.")
    words = first["msg"].removeprefix("Value error, ")
    told = f", got {first['input']!r}" if isinstance(first["input"], str | int | float | bool | None) else ""
    allowed = f"One of {', '.join(get_args(Kernel))}." if key == "kernel" else "Values are in SI units: s, W, J."
    return UserInputError(f"{path}: {key + ': ' if key else ''}{words[0].lower()}{words[1:]}{told}.", allowed)


def _keys_text(required: bool = False) -> str:
    keys = [key for key, field in SensorProfile.model_fields.items() if field.is_required() or not required]
    return ", ".join(key for key in keys if not (required and key == "name"))
