"""A summary that is not what its windows say: seen wherever a record is shown, not by `harness validate` alone."""

from __future__ import annotations

import pytest
from report_records import record_of

from harness.compare.sides import side_of
from harness.errors import MeasurementInvalid
from harness.measure.consistency import changed, contradictions
from harness.measure.run_caveats import all_caveats
from harness.report.ranking import why_left_out

SOUND = record_of()  # two windows of 100 generations and 2,900 J at work: 29 J each


def tampered(**update: object):
    assert SOUND.summary is not None
    return SOUND.model_copy(update={"summary": SOUND.summary.model_copy(update=update)})


def test_a_record_as_it_was_measured_agrees_with_itself():
    assert contradictions(SOUND) == []
    assert changed(SOUND) is None
    assert contradictions(SOUND.model_copy(update={"summary": None, "status": "failed"})) == []


def test_a_figure_of_a_tenth_has_no_place_beside_others_and_says_why():
    assert SOUND.summary is not None
    record = tampered(gpu_energy_j=SOUND.summary.gpu_energy_j.scaled(0.1))
    told = changed(record)
    assert told == (
        "The record contradicts itself: it was changed after it was measured, and none of its figures can be trusted. "
        "The windows' mean is 29 J per generation; the summary says 2.9 J."
    )
    assert (all_caveats(record)[0].code, all_caveats(record)[0].message) == ("changed", told)
    assert why_left_out(record) == told
    with pytest.raises(MeasurementInvalid, match="contradicts itself"):
        side_of(record, "gpu", "")


def test_other_numbers_of_a_summary_are_looked_at_too():
    assert SOUND.summary is not None
    for update in (
        {"windows": 3},
        {"generations": 100},
        {"power_w": SOUND.summary.power_w * 2},
        {"gpu_idle_j": SOUND.summary.gpu_idle_j.scaled(0.5)},
        {"node_gpus_energy_j": SOUND.summary.node_gpus_energy_j.scaled(0.5)},
    ):
        assert changed(tampered(**update)) is not None, update
