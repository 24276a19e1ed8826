"""A profile file on a board: taken, refused with the reason, or taken with a caveat and more doubt."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from harness.clock import VirtualClock
from harness.errors import UserInputError
from harness.power.inventory import nvml_summary
from harness.power.nvml import open_gpus
from harness.power.profile_use import Board, profile_in_use
from harness.power.profiles import SensorProfile
from harness.simulation.gpu import NodeState, SimulatedNode
from harness.simulation.nvml import installed

BOARD = Board(0, "NVIDIA H100 PCIe", "550.54.15", "power.draw.instant", simulated=False, has_counter=True)


def profile(**given) -> SensorProfile:
    content = {"name": "mine", "matches": "^NVIDIA H100 PCIe$", "kernel": "first_order", "period_s": 0.08}
    return SensorProfile(**(content | {"window_s": 0.03, "driver_branch": 550} | given))


def test_a_profile_that_fits_is_taken_as_it_is():
    used = profile_in_use(profile(gain_relative_u=0.008, offset_u_w=0.4), BOARD)
    assert (used.gain_relative_u, used.offset_u_w, used.caveats) == (0.008, 0.4, ())


@pytest.mark.parametrize(
    ("given", "board", "words"),
    [
        ({"matches": "A100"}, BOARD, "is for boards named 'A100', and the run is to use GPU 0 (NVIDIA H100 PCIe)"),
        ({"matches": "^H100"}, BOARD, "is for boards named"),
        ({"matches": "H100("}, BOARD, "no regular expression"),
        ({"nvml_field": "power.draw.average"}, BOARD, "is for NVML's field power.draw.average"),
        ({}, replace(BOARD, nvml_field="power.draw"), "is read by power.draw."),
        ({"simulated": True}, BOARD, "was found on a simulated board"),
    ],
)
def test_a_profile_of_something_else_is_refused_with_the_reason(given, board, words):
    with pytest.raises(UserInputError) as caught:
        profile_in_use(profile(**given), board)
    assert words in caught.value.message
    assert caught.value.hint


def test_a_simulated_profile_fits_a_simulated_board():
    assert profile_in_use(profile(simulated=True), replace(BOARD, simulated=True)).caveats == ()


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"driver_branch": 535}, "profile-driver"),
        ({"matches": ""}, "profile-unbound"),
        ({"gain": 0.96}, "profile-gain"),
    ],
)
def test_what_weakens_a_profile_is_told(given, code):
    assert [caveat.code for caveat in profile_in_use(profile(**given), BOARD).caveats] == [code]


def test_a_profile_for_any_driver_needs_no_caveat():
    assert profile_in_use(profile(driver_branch=None), BOARD).caveats == ()
    assert profile_in_use(profile(), replace(BOARD, driver=None)).caveats == ()


def test_a_gain_that_is_not_applied_is_counted_as_doubt():
    used = profile_in_use(profile(gain=0.96, offset_w=-3.0, gain_relative_u=0.03, offset_u_w=4.0), BOARD)
    assert used.gain_relative_u == pytest.approx(math.hypot(0.03, 0.04))
    assert used.offset_u_w == pytest.approx(5.0)  # 3, 4, 5


@pytest.mark.parametrize(
    ("given", "board"),
    [({"counter_integrates": "readings"}, BOARD), ({}, replace(BOARD, has_counter=False))],
)
def test_a_gain_is_applied_where_the_energy_is_made_of_readings(given, board):
    used = profile_in_use(profile(gain=0.96, offset_w=-3.0, gain_relative_u=0.008, offset_u_w=0.5, **given), board)
    assert (used.gain, used.offset_w, used.gain_relative_u, used.offset_u_w) == (0.96, -3.0, 0.008, 0.5)
    assert used.caveats == ()


def test_a_gain_that_is_not_applied_corrects_nothing():
    used = profile_in_use(profile(gain=0.96, offset_w=-3.0, counter_integrates="power"), BOARD)
    assert (used.gain, used.offset_w) == (1.0, 0.0)


# --- on a node ------------------------------------------------------------------------------------------

STATE = NodeState("H100-SXM", 2, seed=3, counter="sensor", start_s=0.0, load_path=None)
FITS = SensorProfile(
    name="own", matches="H100 80GB HBM3", kernel="boxcar", period_s=0.07, window_s=0.04, counter_step_j=0.5,
    counter_integrates="power", gain_relative_u=0.01,
)  # fmt: skip


def test_a_given_profile_describes_the_selected_gpu_and_no_other():
    with installed(node := SimulatedNode(STATE, VirtualClock())):
        first, second = open_gpus([1], "simulated", node.clock, {}, FITS)
        info = second.info
        assert (info.sensor_profile, info.sensor_period_s, info.sensor_window_s) == ("own", 0.07, 0.04)
        assert (info.counter_step_j, info.counter_integrates, info.gain_relative_u) == (0.5, "power", 0.01)
        assert (first.info.sensor_profile, first.info.counter_integrates) == ("GH100", None)
        for source in (first, second):
            source.close()


def test_a_refused_profile_leaves_nothing_open():
    import pynvml

    with installed(node := SimulatedNode(STATE, VirtualClock())):
        with pytest.raises(UserInputError, match="is for boards named 'A100'"):
            open_gpus([0], "simulated", node.clock, {}, FITS.model_copy(update={"matches": "A100"}))
        assert pynvml._nvmlLib_refcount == 0


def test_the_inventory_says_which_profile_a_run_would_use_and_why_not_another():
    with installed(node := SimulatedNode(STATE, VirtualClock())):
        plain, *_ = nvml_summary(node.clock, "simulated")
        fitted, *_ = nvml_summary(node.clock, "simulated", FITS)
        refused, *_ = nvml_summary(node.clock, "simulated", FITS.model_copy(update={"matches": "A100"}))
    assert (plain.sensor_profile, plain.sensor_period_s, plain.sensor_window_s) == ("GH100", 0.1, 0.025)
    assert "H100 PCIe" in plain.sensor_source
    assert (fitted.sensor_profile, fitted.sensor_period_s, fitted.sensor_window_s) == ("own", 0.07, 0.04)
    assert refused.sensor_profile == "GH100"
    assert [caveat.code for caveat in refused.caveats] == ["profile-refused"]
