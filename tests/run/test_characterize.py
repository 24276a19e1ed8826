"""`characterize` on simulated boards, whose own values are known: every figure within 5 %, and no trace left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import MeasurementInvalid, SourceUnavailable, UserInputError
from harness.power.profiles import SensorProfile, read_profile, write_profile
from harness.run.characterize import characterize, check_destination, load_on, write_whole
from harness.run.load_pattern import SHARES
from harness.simulation.gpu import SimulatedNode
from harness.specs import SourcesSpec


def spec(gpu: str, seed: int, **node) -> SourcesSpec:
    content = {"gpu": gpu, "seed": seed, "clock": "virtual"} | node
    return SourcesSpec.model_validate({"kind": "simulated", "node": content})


def within_5_percent(found, own):
    assert found.findings.update_period_s.value == pytest.approx(own["update_period_s"], rel=0.05)
    assert found.findings.kernel == own["kernel"]
    assert found.findings.window_s.value == pytest.approx(own["window_s"], rel=0.05)
    assert (found.findings.tau_s is None) == (own["tau_s"] is None)
    assert found.findings.counter_step_j == pytest.approx(own["counter_step_j"], rel=0.05)
    assert found.findings.counter_period_s.value == pytest.approx(own["counter_period_s"], rel=0.05)
    assert found.findings.delay_s.value == pytest.approx(own["delay_s"], abs=0.001)


@pytest.mark.parametrize(
    ("gpu", "seed", "own"),
    [
        ("A100-SXM4-80GB", 0, {"update_period_s": 0.1012, "kernel": "first_order", "window_s": 0.025, "tau_s": 0.0125}),
        ("H100-SXM", 1, {"update_period_s": 0.1, "kernel": "first_order", "window_s": 0.025, "tau_s": 0.0125}),
        ("RTX-3090", 2, {"update_period_s": 0.1, "kernel": "boxcar", "window_s": 0.1, "tau_s": None}),
    ],
)
def test_what_is_found_is_the_simulators_own_within_5_percent(gpu, seed, own):
    found = characterize(spec(gpu, seed), 30.0)
    own = own | {"delay_s": 0.002, "counter_step_j": 0.001, "counter_period_s": own["update_period_s"]}
    within_5_percent(found, own)
    assert {name: found.own[name] for name in own} == own
    assert found.findings.distinguishable
    undersampled = own["kernel"] == "first_order"
    assert found.findings.counter_integrates == ("readings" if undersampled else None)


@pytest.mark.parametrize(("kind", "integrates"), [("truth", "power"), ("sensor", "readings")])
def test_a_counter_of_its_own_period_and_lag_is_recognised_for_what_it_adds_up(kind, integrates):
    found = characterize(spec("H100-SXM", 5, counter=kind, counter_period_s=0.02, counter_lag_s=0.15), 30.0)
    assert found.findings.counter_period_s.value == pytest.approx(0.02, rel=0.05)
    assert found.findings.counter_integrates == integrates
    assert found.profile.counter_integrates == integrates


def test_idle_after_load_is_that_of_the_board():
    found = characterize(spec("A100-SXM4-80GB", 3), 40.0).findings
    # The board draws 25 W more right after a load, decaying with 0.7 s: 1 W above idle after 0.7 ln 25 = 2.3 s.
    assert found.settle_s == pytest.approx(2.3, abs=0.5)
    assert found.idle_right_after_w.value - found.idle_settled_w.value == pytest.approx(25 * 0.7 * 0.66, abs=3.0)
    assert found.idle_before_w.value == pytest.approx(found.idle_settled_w.value, abs=1.0)


def test_the_second_board_of_a_node_is_the_one_that_is_loaded_and_power_alone_characterizes_it():
    node = {"gpu": "H100-SXM", "gpu_count": 2, "clock": "virtual", "conditions": ["no-counter"]}
    found = characterize(SourcesSpec.model_validate({"kind": "simulated", "gpus": [1], "node": node}), 30.0)
    assert found.findings.load_w.value > 600
    assert found.info.runs_model
    assert found.findings.window_s.value == pytest.approx(0.025, rel=0.05)
    assert found.profile.counter_step_j is None
    assert "no-counter" in [caveat.code for caveat in found.caveats]


def test_on_the_real_clock_a_sampler_process_finds_the_same():
    found = characterize(spec("RTX-3090", 4, clock="real"), 20.0)
    assert found.findings.update_period_s.value == pytest.approx(0.1, rel=0.01)
    assert (found.findings.kernel, found.findings.counter_step_j) == ("boxcar", pytest.approx(0.001))
    assert found.findings.window_s.value == pytest.approx(0.1, rel=0.1)  # a busy machine wakes the load late


@pytest.mark.gpu
def test_on_a_real_gpu_the_findings_are_those_of_a_power_sensor():
    found = characterize(SourcesSpec(), 60.0).findings
    assert 0.005 < found.update_period_s.value < 0.5
    assert found.load_w.value > 1.5 * found.idle_settled_w.value
    assert found.poll_interval_s < found.update_period_s.value / 5
    assert found.delay_s.value > -0.005


def test_shares_of_the_time_make_a_whole():
    assert sum(SHARES.values()) == pytest.approx(1.0)


# --- what goes wrong ------------------------------------------------------------------------------------


def test_too_little_time_is_refused():
    with pytest.raises(UserInputError, match="too short"):
        characterize(spec("H100-SXM", 0), 5.0)


def test_a_foreign_process_is_refused():
    with pytest.raises(SourceUnavailable, match="Another process uses"):
        characterize(spec("H100-SXM", 0, conditions=["foreign-process"]), 30.0)


def test_the_board_can_be_refused_before_it_is_loaded():
    def refuse(info):
        raise UserInputError(f"not {info.device_name}", "")

    with pytest.raises(UserInputError, match="not NVIDIA H100 80GB HBM3"):
        characterize(spec("H100-SXM", 0), 30.0, accept=refuse)


class Watched:
    """Remembers the node that is loaded, to look at it when all is over, and does to it what it is told."""

    node: SimulatedNode
    closed = False

    def __init__(self, then) -> None:
        self.then = then

    def on(self, opened):
        """Stand in for `load_on`."""
        assert opened.node is not None
        self.node, self.inner = opened.node, load_on(opened)
        return self

    def hold(self, until_s: float) -> None:
        """As told."""
        self.then(self.inner, until_s)

    def close(self) -> None:
        """Remembered."""
        self.closed = True


def test_a_load_that_never_reaches_the_gpu_is_told():
    load = Watched(lambda inner, until_s: inner.node.clock.sleep_s(until_s - inner.node.clock.now_s()))
    with pytest.raises(MeasurementInvalid) as caught:
        characterize(spec("A100-SXM4-80GB", 0), 30.0, load_of=load.on)
    assert caught.value.hint
    assert load.closed


def test_ctrl_c_in_the_middle_leaves_no_load_running():
    def interrupted(inner, until_s):
        if inner.node.clock.now_s() > 15:
            inner.node.clock.every(0.001, stop)
        inner.hold(until_s)

    def stop():
        raise KeyboardInterrupt

    load = Watched(interrupted)
    with pytest.raises(KeyboardInterrupt):
        characterize(spec("A100-SXM4-80GB", 0), 30.0, load_of=load.on)
    now_s = load.node.clock.now_s()
    assert load.node.gpus[0].utilisation(now_s) == 0
    assert load.closed


# --- the file -------------------------------------------------------------------------------------------

PROFILE = SensorProfile(name="p", kernel="boxcar", period_s=0.1, window_s=0.1, source="harness sensor characterize, x")


def test_the_profile_is_written_whole_and_read_back(tmp_path: Path):
    write_whole(PROFILE, tmp_path / "p.yaml")
    assert read_profile(tmp_path / "p.yaml") == PROFILE
    assert [path.name for path in tmp_path.iterdir()] == ["p.yaml"]


def test_a_profile_that_cannot_be_put_in_its_place_leaves_nothing_behind(tmp_path: Path):
    (tmp_path / "p.yaml").mkdir()
    with pytest.raises(UserInputError, match="Cannot write"):
        write_whole(PROFILE, tmp_path / "p.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["p.yaml"]


def test_an_earlier_profile_of_ours_may_be_replaced_and_nothing_else(tmp_path: Path):
    check_destination(tmp_path / "new.yaml")
    write_profile(PROFILE, tmp_path / "ours.yaml")
    check_destination(tmp_path / "ours.yaml")
    write_profile(PROFILE.model_copy(update={"source": "calibrated by hand"}), tmp_path / "theirs.yaml")
    (tmp_path / "config.yaml").write_text("runs: []\n", encoding="utf-8")
    for name, words in {
        "theirs.yaml": "was not written by", "config.yaml": "was not written by", "none/p.yaml": "There is no folder",
        "p.txt": "must be a .yaml file",
    }.items():  # fmt: skip
        with pytest.raises(UserInputError, match=words):
            check_destination(tmp_path / name)
