"""A profile file on a board: whether it is the board's, and how far to believe it there."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from harness.errors import UserInputError
from harness.power.profiles import NvmlField, SensorProfile
from harness.records import Caveat


@dataclass(frozen=True)
class Board:
    """What has to fit: NVML's index and name of a board, its driver's version, the field its power is read by, and
    whether it has an energy counter."""

    index: int
    device_name: str
    driver: str | None
    nvml_field: NvmlField
    simulated: bool
    has_counter: bool

    def __str__(self) -> str:
        return f"GPU {self.index} ({self.device_name})"


@dataclass(frozen=True)
class ProfileInUse:
    """Gain and offset to correct by, their standard uncertainties as this run has to take them, and what to tell."""

    gain: float
    offset_w: float
    gain_relative_u: float
    offset_u_w: float
    caveats: tuple[Caveat, ...]


def profile_in_use(profile: SensorProfile, board: Board) -> ProfileInUse:
    """Check a profile that a user gave against the board it is to be used on.

    A gain and an offset are those of the power readings. They are applied where the energy is known to be made of
    readings: without a counter, or with one that was seen to add them up (`counter_integrates`). Elsewhere what they
    say the readings are off by is added to the uncertainty instead.

    Raises:
        UserInputError: It is the profile of another or a simulated board, or of another NVML field.
    """
    told = f"The sensor profile {profile.name}"
    try:
        fits = re.search(profile.matches, board.device_name) is not None
    except re.error as error:
        raise UserInputError(
            f"{told} has a 'matches' that is no regular expression: {error}.", "Write part of NVML's name of the board."
        ) from error
    if not fits:
        raise UserInputError(
            f"{told} is for boards named '{profile.matches}', and the run is to use {board}.",
            "Give this board's own profile (harness sensor characterize), or leave sources.sensor_profile out.",
        )
    if profile.nvml_field != board.nvml_field:
        raise UserInputError(
            f"{told} is for NVML's field {profile.nvml_field}, and {board} is read by {board.nvml_field}.",
            "A field of another kind sees another stretch of time: characterize this board with this driver.",
        )
    if profile.simulated and not board.simulated:
        raise UserInputError(
            f"{told} was found on a simulated board, and {board} is a real one.",
            "Characterize the real board: harness sensor characterize.",
        )
    branch = re.match(r"\d+", board.driver or "")
    moved = profile.driver_branch is not None and branch is not None and int(branch.group()) != profile.driver_branch
    corrected = profile.gain != 1.0 or profile.offset_w != 0.0
    applies = corrected and (not board.has_counter or profile.counter_integrates == "readings")
    stated = f"{told} says gain {profile.gain:g} and offset {profile.offset_w:g} W"
    found = (
        ("profile-unbound", not profile.matches, f"{told} names no board; nothing shows that it is that of {board}."),
        (
            "profile-driver",
            moved,
            f"{told} was found with driver {profile.driver_branch}; {board} has {board.driver}, and drivers differ.",
        ),
        (
            "profile-gain",
            corrected and not applies,
            f"{stated}: not applied, since nobody knows whether the energy counter shares them, but counted as doubt. "
            "harness sensor characterize finds out.",
        ),
    )
    return ProfileInUse(
        gain=profile.gain if applies else 1.0,
        offset_w=profile.offset_w if applies else 0.0,
        gain_relative_u=math.hypot(profile.gain_relative_u, 0.0 if applies else profile.gain - 1.0),
        offset_u_w=math.hypot(profile.offset_u_w, 0.0 if applies else profile.offset_w),
        caveats=tuple(Caveat(code=code, message=message) for code, is_so, message in found if is_so),
    )
