"""`sources.sensor_profile`: found beside the config, part of the run's id, used by the run, refused where it is bad."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UserInputError
from harness.power.profiles import SensorProfile, write_profile
from harness.run.config import load_plan
from harness.run.sources import opened_sources
from harness.run.worker import execute
from harness.specs import SourcesSpec

PROFILE = SensorProfile(
    name="own", matches="A100-SXM4-80GB", kernel="first_order", period_s=0.11, window_s=0.03, simulated=True
)
CONFIG = """\
defaults:
  sources: {kind: simulated, node: {clock: virtual}, sensor_profile: own.yaml}
  engine: simulated
  measure: {window_s: 2, null_window_s: 1, idle_s: 1, warm_up_max_s: 4, max_repeats: 5}
runs:
  - {task: text-generation, model: m, batch_size: 4}
"""


def plan(folder: Path, text: str = CONFIG):
    folder.mkdir(exist_ok=True)
    path = folder / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return load_plan(path).specs[0]


def with_profile(folder: Path, **changes):
    folder.mkdir(exist_ok=True)
    write_profile(PROFILE.model_copy(update=changes), folder / "own.yaml")
    return plan(folder)


def test_the_content_of_the_profile_makes_the_run_and_its_place_does_not(tmp_path):
    here, there = with_profile(tmp_path / "a"), with_profile(tmp_path / "b")
    changed = with_profile(tmp_path / "c", window_s=0.031)
    without = plan(tmp_path / "d", CONFIG.replace(", sensor_profile: own.yaml", ""))
    assert here.sources.sensor_profile == str(tmp_path / "a" / "own.yaml")
    assert here.run_id == there.run_id
    assert len({here.run_id, changed.run_id, without.run_id}) == 3


def test_a_run_uses_the_profile_and_records_it(tmp_path):
    record = execute(with_profile(tmp_path), "campaign", tmp_path / "scratch", lambda news: None)
    assert record.status == "complete", record.failure
    source = record.sources[0]
    assert (source.sensor_profile, source.sensor_window_s) == ("own", 0.03)
    # The profile says 0.11 s; the simulated board renews its readings every 0.1012 s, which the samples show.
    assert source.sensor_period_s == pytest.approx(0.1012, rel=1e-3)
    assert "period-disagrees" in [caveat.code for caveat in record.caveats]


def test_a_weakness_of_the_profile_is_a_caveat_of_the_run(tmp_path):
    record = execute(with_profile(tmp_path, gain=0.97), "campaign", tmp_path / "scratch", lambda news: None)
    assert "profile-gain" in [caveat.code for caveat in record.caveats]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "Cannot read the sensor profile"),
        ("kernel: [", "not valid YAML"),
        ("kernel: boxcar\n", "'period_s' is missing"),
        ("kernel: boxcar\nperiod_s: 0.1\nwindow_s: 0.1\ncolour: red\n", "unknown key 'colour'"),
    ],
)
def test_a_missing_or_bad_profile_stops_at_the_config_with_file_and_line(tmp_path, content, words):
    if content is not None:
        (tmp_path / "own.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(UserInputError) as caught:
        plan(tmp_path)
    assert caught.value.message.startswith(f"{tmp_path / 'c.yaml'}:2: ")
    assert words in caught.value.message
    assert "\n" not in caught.value.message


def test_a_profile_of_another_board_is_refused_before_anything_runs(tmp_path):
    spec = with_profile(tmp_path, matches="H100")
    with pytest.raises(UserInputError, match="is for boards named 'H100'"), opened_sources(spec.sources, None):
        pytest.fail("opened")


def test_a_profile_that_changes_after_the_config_was_read_is_refused(tmp_path):
    spec = with_profile(tmp_path)
    write_profile(PROFILE.model_copy(update={"window_s": 0.05}), tmp_path / "own.yaml")
    with pytest.raises(UserInputError, match="has changed since"), opened_sources(spec.sources, None):
        pytest.fail("opened")


def test_sources_without_a_profile_keep_the_one_on_record():
    with opened_sources(SourcesSpec(kind="simulated", node={"clock": "virtual"}), None) as opened:
        assert opened.sources[0].info.sensor_profile == "GA100"
