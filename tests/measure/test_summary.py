"""Per generation, worked by hand: 100 requests in 10 busy seconds for 2,900 J, idle at 50 W."""

from __future__ import annotations

import math

import pytest
from fakes import measurement_of, source_energy_of, source_info

from harness.errors import MeasurementInvalid
from harness.measure.summary import host_energy, summarize
from harness.records import Caveat, WorkCounts

GPU = source_info(gain_relative_u=0.01, offset_u_w=0.5)
TARGET = 0.02


def five(**changes):
    """Five equal windows."""
    return [measurement_of(**changes) for _ in range(5)]


def summary_of(measurements, sources=(GPU,), host_missing="no meter"):
    return summarize(measurements, sources, host_missing, TARGET)


# --- the figures ---


def test_gross_is_what_the_boards_drew_while_they_worked():
    summary = summary_of(five())
    assert summary.gpu_energy_j.value == pytest.approx(29.0)
    assert summary.generations == 500
    assert summary.windows == 5
    assert summary.rejected_windows == 0


def test_idle_share_and_above_idle_make_the_gross():
    summary = summary_of(five())
    assert summary.gpu_idle_j.value == pytest.approx(5.0)  # 50 W for 10 s over 100 requests
    assert summary.gpu_above_idle_j.value == pytest.approx(24.0)
    assert summary.gpu_idle_j.value + summary.gpu_above_idle_j.value == pytest.approx(summary.gpu_energy_j.value)


def test_gain_and_offset_count_once_however_many_windows():
    # Per generation: gain 29 J * 1 % = 0.29 J and offset 0.5 W * 10 s / 100 = 0.05 J, together; edges 6 J / 100
    # drawn anew in each of five windows.
    expected = math.sqrt(0.29**2 + 0.05**2 + (0.06 / math.sqrt(5)) ** 2)
    assert summary_of(five()).gpu_energy_j.standard_uncertainty == pytest.approx(expected, rel=1e-9)


def test_offset_drops_out_above_idle_and_gain_stays():
    # gain 24 J * 1 %; edges 6 J and idle 0.2 W * 10 s = 2 J, per 100 requests and five windows
    expected = math.hypot(0.24, math.hypot(6.0, 2.0) / 100 / math.sqrt(5))
    assert summary_of(five()).gpu_above_idle_j.standard_uncertainty == pytest.approx(expected, rel=1e-9)


def test_idle_is_as_uncertain_as_its_own_power():
    # gain 5 J * 1 % and offset 0.05 J; 0.2 W * 10 s per 100 requests and five windows
    expected = math.sqrt(0.05**2 + 0.05**2 + (0.02 / math.sqrt(5)) ** 2)
    assert summary_of(five()).gpu_idle_j.standard_uncertainty == pytest.approx(expected, rel=1e-9)


def test_repeatability_is_the_scatter_alone():
    windows = [measurement_of(source_energy_of(energy_j=energy_j)) for energy_j in (2900.0, 3100.0, 3300.0)]
    summary = summary_of(windows)
    assert summary.gpu_energy_j.value == pytest.approx(30.0)
    assert summary.gpu_repeatability_j.standard_uncertainty == pytest.approx(2 / math.sqrt(3))
    assert summary.gpu_energy_j.standard_uncertainty > summary.gpu_repeatability_j.standard_uncertainty


def test_windows_weigh_alike_whatever_they_held():
    windows = [
        measurement_of(source_energy_of(energy_j=1100.0), work=WorkCounts(requests=100)),  # 10 J each
        measurement_of(source_energy_of(energy_j=4100.0), work=WorkCounts(requests=200)),  # 20 J each
    ]
    assert summary_of(windows).gpu_energy_j.value == pytest.approx(15.0)


def test_duration_and_power_are_those_of_the_busy_time():
    summary = summary_of(five())
    assert summary.duration_s == pytest.approx(0.1)
    assert summary.power_w == pytest.approx(290.0)


def test_energy_per_token_and_per_image():
    per_token = summary_of(five()).energy_j_per_output_token
    assert per_token is not None
    assert per_token.value == pytest.approx(2.9)  # ten tokens each
    assert summary_of(five()).energy_j_per_image is None
    images = summary_of(five(work=WorkCounts(requests=100, images=200)))
    assert images.energy_j_per_image is not None
    assert images.energy_j_per_image.value == pytest.approx(14.5)
    assert images.energy_j_per_output_token is None


@pytest.mark.parametrize(("energies_j", "reached"), [((3000.0, 3001.0), True), ((2500.0, 3500.0), False)])
def test_target_is_judged_by_the_scatter(energies_j, reached):
    windows = [measurement_of(source_energy_of(energy_j=energy_j)) for energy_j in energies_j]
    assert summary_of(windows).target_reached == reached


# --- several boards ---

SECOND = source_info(id="GPU-1", gain_relative_u=0.02, offset_u_w=0.0)
IDLER = source_info(id="GPU-2", runs_model=False, gain_relative_u=0.01, offset_u_w=0.0)


def three_boards():
    return [
        measurement_of(
            source_energy_of(),
            source_energy_of(source_id="GPU-1", energy_j=1000.0, gap_energy_j=0.0),
            source_energy_of(source_id="GPU-2", energy_j=600.0, gap_energy_j=100.0),
        )
        for _ in range(5)
    ]


def test_only_boards_that_ran_the_model_make_the_gpu_energy():
    summary = summary_of(three_boards(), (GPU, SECOND, IDLER))
    assert summary.gpu_energy_j.value == pytest.approx(39.0)
    assert summary.node_gpus_energy_j.value == pytest.approx(44.0)


def test_gains_of_boards_of_one_make_add_up():
    # 0.29 and 0.05 J of the first board together, plus 10 J * 2 % of the second: not in quadrature.
    summary = summary_of(three_boards(), (GPU, SECOND, IDLER))
    common = math.hypot(0.29, 0.05) + 0.2
    own = math.hypot(0.06, 0.06) / math.sqrt(5)
    assert summary.gpu_energy_j.standard_uncertainty == pytest.approx(math.hypot(common, own), rel=1e-9)


def test_node_needs_cpu_and_memory():
    cpu = source_info(id="cpu", kind="cpu", scope="node", runs_model=False)
    windows = [
        measurement_of(source_energy_of(), source_energy_of(source_id="cpu", energy_j=800.0, gap_energy_j=0.0))
        for _ in range(5)
    ]
    missing = summary_of(windows, (GPU, cpu), "no DRAM meter")
    assert missing.node_energy_j is None
    assert missing.node_missing == "no DRAM meter"
    whole = summary_of(windows, (GPU, cpu), None)
    assert whole.node_energy_j is not None
    assert whole.node_energy_j.value == pytest.approx(37.0)
    assert whole.node_gpus_energy_j.value == pytest.approx(29.0)


def test_host_energy_is_summed_over_the_windows():
    cpu, dram = source_info(id="cpu", kind="cpu"), source_info(id="ram", kind="dram")
    windows = [
        measurement_of(
            source_energy_of(source_id="cpu", energy_j=500.0, gap_energy_j=50.0),
            source_energy_of(source_id="ram", energy_j=90.0, gap_energy_j=10.0),
            rejected=rejected,
        )
        for rejected in (False, False, True)
    ]
    host = host_energy(windows, (GPU, cpu, dram), None)
    assert host.cpu_energy_j == pytest.approx(900.0)
    assert host.dram_energy_j == pytest.approx(160.0)


def test_host_that_is_not_metered_has_no_energy_and_a_reason():
    host = host_energy(five(), (GPU,), "no permission to read RAPL")
    assert (host.cpu_energy_j, host.dram_energy_j) == (None, None)
    assert host.reason == "no permission to read RAPL"


# --- rejected windows ---


def with_rejects(accepted: int, rejected: int):
    odd = measurement_of(
        source_energy_of(energy_j=99_999.0),
        rejected=True,
        caveats=(Caveat(code="shared-gpu", message="Another process used the GPU."),),
    )
    return [measurement_of()] * accepted + [odd] * rejected


def test_a_fifth_may_be_rejected_and_is_left_out():
    summary = summary_of(with_rejects(4, 1))
    assert (summary.windows, summary.rejected_windows, summary.generations) == (4, 1, 400)
    assert summary.gpu_energy_j.value == pytest.approx(29.0)


@pytest.mark.parametrize(("accepted", "rejected"), [(3, 1), (0, 5), (2, 1)])
def test_more_than_a_fifth_rejected_gives_no_figure(accepted, rejected):
    with pytest.raises(MeasurementInvalid) as error:
        summary_of(with_rejects(accepted, rejected))
    assert f"{rejected} of {accepted + rejected} windows" in str(error.value)
    assert "Another process used the GPU." in str(error.value)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_windows_give_no_figure(count):
    with pytest.raises(MeasurementInvalid, match="Fewer than two windows"):
        summary_of([measurement_of()] * count)


# --- the truth of a simulation ---


def test_truth_is_the_mean_per_generation_of_the_accepted_windows():
    windows = [
        measurement_of(source_energy_of(true_busy_energy_j=true_j), rejected=rejected)
        for true_j, rejected in [(2900.0, False)] * 5 + [(3000.0, False), (9999.0, True)]
    ]
    assert summary_of(windows).true_gpu_energy_j == pytest.approx((5 * 29.0 + 30.0) / 6)


def test_truth_that_is_not_known_everywhere_is_not_stated():
    windows = [measurement_of(source_energy_of(true_busy_energy_j=2900.0)), measurement_of()]
    assert summary_of(windows).true_gpu_energy_j is None
