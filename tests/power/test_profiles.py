"""Which board has which sensor, and how much of the time it sees."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.power.profiles import profile_for, sensor_profiles, undersampled_fraction

# Names as NVML gives them.
BOARDS = [
    ("NVIDIA A100-SXM4-80GB", "GA100"),
    ("NVIDIA A100-PCIE-40GB", "GA100"),
    ("A100-SXM4-40GB", "GA100"),  # older drivers leave the maker out
    ("NVIDIA A100 80GB PCIe", "GA100"),
    ("NVIDIA A30", "GA100"),
    ("NVIDIA A800-SXM4-80GB", "GA100"),
    ("NVIDIA H100 80GB HBM3", "GH100"),
    ("NVIDIA H100 PCIe", "GH100"),
    ("NVIDIA H100 NVL", "GH100"),
    ("NVIDIA H200", "GH100"),
    ("NVIDIA H800", "GH100"),
    ("NVIDIA H20", "GH100"),
    ("NVIDIA GH200 480GB", "GH100"),
    ("Tesla V100-SXM2-16GB", "Volta"),
    ("NVIDIA TITAN V", "Volta"),
    ("Quadro GV100", "Volta"),
    ("Tesla P100-PCIE-16GB", "Pascal"),
    ("Tesla P40", "Pascal"),
    ("Tesla P4", "Pascal"),
    ("NVIDIA GeForce GTX 1080 Ti", "Pascal"),
    ("NVIDIA TITAN X (Pascal)", "Pascal"),
    ("NVIDIA TITAN Xp", "Pascal"),
    ("NVIDIA GeForce RTX 3090", "GeForce-Ampere"),
    ("NVIDIA GeForce RTX 3070 Ti", "GeForce-Ampere"),
    ("NVIDIA RTX A6000", "GeForce-Ampere"),
    ("NVIDIA A40", "GeForce-Ampere"),
    ("NVIDIA A10", "GeForce-Ampere"),
    ("NVIDIA GeForce RTX 2080 Ti", "Turing"),
    ("NVIDIA TITAN RTX", "Turing"),
    ("Tesla T4", "Turing"),
]

NOT_ON_RECORD = [
    "NVIDIA GeForce RTX 4090",
    "NVIDIA GeForce RTX 5090",
    "NVIDIA L4",
    "NVIDIA L40S",
    "NVIDIA B200",
    "NVIDIA RTX 6000 Ada Generation",
    "NVIDIA T400",
    "NVIDIA T1000",
    "NVIDIA A16",
    "NVIDIA A2",
    "NVIDIA GeForce GTX 1650",
    "NVIDIA GeForce GTX TITAN X",  # Maxwell, not Pascal
    "Tesla K80",
    "Tesla M40",
    "",
]


@pytest.mark.parametrize(("name", "profile"), BOARDS)
def test_board_is_found_by_its_nvml_name(name, profile):
    assert profile_for(name).name == profile


@pytest.mark.parametrize("name", NOT_ON_RECORD)
def test_board_that_is_not_on_record_gets_the_least_favourable_sensor(name):
    profile = profile_for(name)
    assert profile.name == "unknown"
    assert undersampled_fraction(profile.period_s, profile.window_s) == 0.8


@given(st.text(max_size=40))
def test_every_name_has_a_profile(name):
    assert profile_for(name) in sensor_profiles()


@pytest.mark.parametrize(
    ("name", "period_s", "window_s", "kernel"),
    [
        ("NVIDIA A100-SXM4-80GB", 0.1012, 0.025, "first_order"),
        ("NVIDIA H100 80GB HBM3", 0.1, 0.025, "first_order"),
        ("Tesla V100-SXM2-16GB", 0.02, 0.01, "boxcar"),
        ("NVIDIA GeForce RTX 3090", 0.1, 0.1, "boxcar"),
        ("NVIDIA GeForce RTX 2080 Ti", 0.101, 0.1, "boxcar"),
    ],
)
def test_recorded_sensors_are_those_of_the_protocol(name, period_s, window_s, kernel):
    profile = profile_for(name)
    assert (profile.period_s, profile.window_s, profile.kernel) == (period_s, window_s, kernel)


def test_quadro_rtx_8000_sees_a_fifth_of_the_time():
    profile = profile_for("Quadro RTX 8000")
    assert undersampled_fraction(profile.period_s, profile.window_s) == pytest.approx(0.8, abs=0.01)


def test_time_constant_is_half_the_window():
    assert profile_for("NVIDIA A100-SXM4-80GB").tau_s == 0.0125


@pytest.mark.parametrize("name", ["Tesla P100-PCIE-16GB", "Tesla P4", "NVIDIA GeForce GTX 1080"])
def test_boards_before_volta_have_no_counter(name):
    assert profile_for(name).counter_step_j is None


def test_every_profile_can_be_used_and_names_its_source():
    for profile in sensor_profiles():
        assert profile.source
        assert 0 < profile.window_s <= profile.period_s
        assert profile.counter_step_j is None or profile.counter_step_j > 0
        assert profile.kernel in ("boxcar", "first_order")
    assert sensor_profiles()[-1].name == "unknown"
    assert len({profile.name for profile in sensor_profiles()}) == len(sensor_profiles())


def test_nothing_on_record_is_less_favourable_than_unknown():
    unknown = profile_for("")
    worst = max(undersampled_fraction(profile.period_s, profile.window_s) for profile in sensor_profiles()[:-1])
    assert undersampled_fraction(unknown.period_s, unknown.window_s) >= worst


def test_uncalibrated_doubt_is_five_percent_and_three_watts_rectangular():
    profile = profile_for("NVIDIA A100-SXM4-80GB")
    assert profile.gain_relative_u == pytest.approx(0.0288675, abs=1e-7)
    assert profile.offset_u_w == pytest.approx(1.7320508, abs=1e-7)


@pytest.mark.parametrize(
    ("period_s", "window_s", "kappa"), [(0.1, 0.025, 0.75), (0.1, 0.1, 0.0), (0.02, 0.01, 0.5), (0.1, 1.0, 0.0)]
)
def test_unseen_share_of_the_time(period_s, window_s, kappa):
    assert undersampled_fraction(period_s, window_s) == pytest.approx(kappa)


@given(st.floats(min_value=1e-4, max_value=10), st.floats(min_value=0, max_value=100))
def test_unseen_share_is_a_share(period_s, window_s):
    assert 0.0 <= undersampled_fraction(period_s, window_s) <= 1.0
    assert not math.isnan(undersampled_fraction(period_s, window_s))
