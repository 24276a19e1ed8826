"""Which board has which sensor, and how much of the time it sees."""

from __future__ import annotations

import csv
import math
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserInputError
from harness.power.profiles import (
    SensorProfile,
    named_profile,
    profile_for,
    read_profile,
    sensor_profiles,
    unavailable_fields,
    undersampled_fraction,
    write_profile,
)

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
        assert profile.window_s > 0
        assert profile.period_s > 0
        assert profile.counter_step_j is None or profile.counter_step_j > 0
        assert profile.kernel in ("boxcar", "first_order")
    assert sensor_profiles()[-1].name == "unknown"
    assert len({profile.name for profile in sensor_profiles()}) == len(sensor_profiles())


def test_unknown_is_as_unfavourable_as_the_record_to_two_hundredths():
    unseen = {p.name: undersampled_fraction(p.period_s, p.window_s) for p in sensor_profiles()}
    worse = {name: round(kappa, 3) for name, kappa in unseen.items() if kappa > unseen["unknown"]}
    assert worse == {"A100-PCIE-40GB-525-instant": 0.815, "A100-PCIE-40GB-525-plain": 0.814}


def test_uncalibrated_doubt_is_five_percent_and_three_watts_rectangular():
    profile = profile_for("NVIDIA A100-SXM4-80GB")
    assert profile.gain_relative_u == pytest.approx(0.0288675, abs=1e-7)
    assert profile.offset_u_w == pytest.approx(1.7320508, abs=1e-7)


@pytest.mark.parametrize(
    ("period_s", "window_s", "kernel", "kappa"),
    [
        (0.1, 0.025, "boxcar", 0.75),
        (0.1, 0.1, "boxcar", 0.0),
        (0.02, 0.01, None, 0.5),
        (0.1, 1.0, "boxcar", 0.0),
        (0.1, 0.113, "boxcar", 0.13 * 0.87 / 1.13),  # a part of each period is seen twice
        (0.1, 0.025, "first_order", 0.750671),  # coth(4) = 1.000671
        (0.1, 0.1, "first_order", 0.313035),  # coth(1) = 1.313035
        (0.06, 0.8, "first_order", 0.0249906),  # nearly (P/W) / 3
    ],
)
def test_unseen_share_of_the_time(period_s, window_s, kernel, kappa):
    assert undersampled_fraction(period_s, window_s, kernel) == pytest.approx(kappa, rel=1e-4)


@pytest.mark.parametrize(("kernel", "window_s"), [("boxcar", 0.03), ("boxcar", 0.113), ("first_order", 0.05)])
def test_kappa_is_the_unevenness_of_the_weights_that_readings_give_the_time(kernel, window_s):
    # The weights, added up by brute force over many readings, on a grid of 10 us.
    period_s, step_s = 0.1, 1e-5
    age_s = np.arange(0.0, 3.0, step_s)
    one = np.where(age_s < window_s, 1 / window_s, 0.0)
    if kernel == "first_order":
        one = np.exp(-age_s / (window_s / 2)) / (window_s / 2)
    weights = one.reshape(-1, round(period_s / step_s)).sum(axis=0) * period_s
    assert weights.mean() == pytest.approx(1.0, rel=1e-3)
    uneven = np.mean((weights / weights.mean() - 1) ** 2) * window_s / period_s
    assert undersampled_fraction(period_s, window_s, kernel) == pytest.approx(uneven, rel=0.01)


@given(st.floats(min_value=1e-4, max_value=10), st.floats(min_value=0, max_value=100))
def test_unseen_share_is_a_share(period_s, window_s):
    assert 0.0 <= undersampled_fraction(period_s, window_s) <= 1.0
    assert not math.isnan(undersampled_fraction(period_s, window_s))


# --- by driver and field ---


@pytest.mark.parametrize(
    ("name", "driver", "field", "profile"),
    [
        ("NVIDIA GeForce RTX 3090", "535.54.03", "power.draw.instant", "RTX-3090-535-instant"),
        ("NVIDIA GeForce RTX 3090", "535.183.01", "power.draw.average", "RTX-3090-535-average"),
        ("NVIDIA GeForce RTX 3090", "530.30.02", "power.draw", "RTX-3090-530-plain"),
        ("NVIDIA GeForce RTX 3090", "580.65.06", "power.draw", "GeForce-Ampere-plain"),  # a branch not on record
        ("NVIDIA GeForce RTX 3090 Ti", "535.54.03", "power.draw.instant", "GeForce-Ampere"),  # not the 3090
        ("NVIDIA GeForce GTX 1080 Ti", "535.54.03", "power.draw", "GTX-1080-Ti-535-plain"),
        ("NVIDIA GeForce GTX 1080", "535.54.03", "power.draw", "GTX-1080-535-plain"),
        ("NVIDIA A100-PCIE-40GB", "535.54.03", "power.draw.instant", "A100-PCIE-40GB-535-instant"),
        ("NVIDIA A100-PCIE-40GB", "535.54.03", "power.draw.average", "unknown"),  # not available there
        ("Tesla K80", "470.223.02", "power.draw", "unknown"),  # on record with another branch only
        ("NVIDIA H100 PCIe", "550.54.15", "power.draw", "GH100-plain"),
        ("NVIDIA A100-SXM4-80GB", "not a version", "power.draw.instant", "GA100"),
    ],
)
def test_driver_branch_and_field_choose_the_row(name, driver, field, profile):
    assert profile_for(name, driver, field).name == profile


def test_plain_field_of_the_3090_was_the_instant_one_only_with_driver_530():
    means = {b: profile_for("NVIDIA GeForce RTX 3090", f"{b}.1", "power.draw").mean_of for b in (525, 530, 535)}
    assert means == {525: 10, 530: 1, 535: 11}  # eleven by the recording, ten (1 s / 100 ms) by the sheet


def test_what_was_recorded_on_one_board_widens_the_doubt_and_corrects_nothing():
    profile = named_profile("RTX-4090-535-plain")  # recorded: gain 1.0446, offset -22.6 W
    assert (profile.gain, profile.offset_w) == (1.0, 0.0)
    assert profile.offset_u_w == pytest.approx(22.6 / math.sqrt(3), rel=1e-3)
    assert profile.gain_relative_u == pytest.approx(0.05 / math.sqrt(3))
    assert "offset -22.6 W" in profile.note


def test_unusable_sensor_is_flagged_and_its_doubt_is_as_wide_as_its_error():
    profile = profile_for("Quadro K620", "535.54.03")
    assert "unusable" in profile.not_trusted
    assert profile.gain_relative_u == pytest.approx(0.41 / math.sqrt(3), rel=1e-3)
    assert not profile.calibrated


def test_throttled_board_is_left_out_of_its_models_row():
    assert "throttled" in profile_for("NVIDIA TITAN RTX", "525.116.04").not_trusted
    assert ("A100-SXM4-40GB", 525, "power.draw.instant") in unavailable_fields()


def test_every_row_of_the_file_is_a_profile_or_a_stated_absence():
    assert len(sensor_profiles()) + len(unavailable_fields()) == 125


def test_memory_of_a_mean_reaches_over_all_its_readings():
    assert named_profile("GeForce-Ampere-average").memory_s == pytest.approx(1.0)  # 100 ms + 9 * 100 ms
    assert named_profile("GeForce-Ampere").memory_s == pytest.approx(0.1)


# --- by file ---


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_file_may_give_the_keys_that_fit_prints(tmp_path):
    profile = named_profile(str(written(tmp_path, "kernel: first_order\ntau_s: 0.0125\nperiod_s: 0.1\ngain: 0.96\n")))
    assert (profile.name, profile.window_s, profile.gain) == ("mine", 0.025, 0.96)
    assert profile.source == "file mine.yaml"
    width = read_profile(written(tmp_path, "kernel: boxcar\nwidth_s: 1\nperiod_s: 1\n"))
    assert (width.window_s, width.delay_s, width.calibrated) == (1.0, 0.0, False)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("kernel: boxcar\nwindow_s: 1\nperiod_s: 1\nofset_w: 1\n", "unknown key 'ofset_w'", "'offset_w'"),
        ("kernel: boxcar\nwindow_s: 1\nperiod_s: 1\nzzz: 1\n", "unknown key 'zzz'", "Keys: name, matches"),
        ("kernel: boxcar\nwindow_s: 1\n", "'period_s' is missing", "kernel, period_s, window_s"),
        (
            "kernel: box\nwindow_s: 1\nperiod_s: 1\n",
            "kernel: input should be 'boxcar' or 'first_order', got 'box'",
            "One",
        ),
        (
            "kernel: boxcar\nwindow_s: 1\nperiod_s: 100 ms\n",
            "period_s: input should be a valid number, got '100 ms'",
            "SI",
        ),
        ("kernel: boxcar\nwindow_s: -1\nperiod_s: 1\n", "window_s: input should be greater than 0, got -1", "SI"),
        ("kernel: boxcar\nwindow_s: .nan\nperiod_s: 1\n", "window_s: input should be a finite number", "SI"),
        ("kernel: boxcar\nwindow_s: 1\nwidth_s: 1\nperiod_s: 1\n", "not window_s and width_s", ""),
        ("- a\n- b\n", "it holds no `key: value` pairs", "Keys"),
        ("", "it holds no `key: value` pairs", "Keys"),
        ("a: [", "not valid YAML", "key: value"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_in_one_sentence(tmp_path, text, message, hint):
    with pytest.raises(UserInputError) as caught:
        read_profile(written(tmp_path, text))
    assert message in caught.value.message
    assert "mine.yaml" in caught.value.message
    assert "\n" not in caught.value.message
    assert hint in caught.value.hint


def test_name_that_is_nearly_right_gets_the_right_one_offered():
    with pytest.raises(UserInputError, match="There is no sensor profile 'GA10'") as caught:
        named_profile("GA10")
    assert "GA100" in caught.value.hint
    with pytest.raises(UserInputError, match=r"Cannot read the sensor profile nowhere\.yaml: No such file"):
        named_profile("nowhere.yaml")


@given(
    st.builds(
        SensorProfile,
        name=st.text(min_size=1, max_size=12).filter(lambda text: text.isprintable()),
        kernel=st.sampled_from(["boxcar", "first_order"]),
        period_s=st.floats(1e-4, 10),
        window_s=st.floats(1e-4, 10),
        delay_s=st.floats(0, 1),
        mean_of=st.integers(1, 20),
        gain=st.floats(0.5, 2),
        offset_w=st.floats(-30, 30),
        driver_branch=st.none() | st.integers(300, 999),
        counter_step_j=st.none() | st.floats(1e-3, 10),
        note=st.text(max_size=30).filter(lambda text: text.isprintable()),
        source=st.just("a test"),
    )
)
def test_profile_survives_its_file(profile):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "profile.yaml"
        write_profile(profile, path)
        assert read_profile(path) == profile


# --- provenance ---

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "sensors.csv"


@pytest.mark.skipif(not SHARED.is_file(), reason="../shared/data/sensors.csv is not on this machine")
def test_periods_on_record_are_the_medians_of_the_sheet():
    periods = defaultdict(list)
    for row in csv.DictReader(SHARED.read_text(encoding="utf-8").splitlines()):
        if row["available"] == "1" and row["kind_from_data"] in ("instant", "1-s average", "logarithmic"):
            name = row["gpu"].replace("_", " ").replace("Alienware ", "").replace("A100 40GB PCIe", "A100-PCIE-40GB")
            name = name.replace("RTX 1080", "GTX 1080").replace("X Pascal", "X (Pascal)")
            periods[name, row["driver"].split(".")[0], row["nvml_field"]].append(float(row["update_period_ms"]))
    assert len(periods) == sum(profile.driver_branch is not None for profile in sensor_profiles())
    for (name, driver, field), given_ms in periods.items():
        profile = profile_for(name, driver, field)
        refitted = profile.name in ("A100-PCIE-40GB-535-instant", "A100-PCIE-40GB-535-plain")
        assert profile.driver_branch == int(driver), name
        assert profile.period_s * 1000 == pytest.approx(101.2 if refitted else statistics.median(given_ms), abs=0.06)
