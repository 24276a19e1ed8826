"""Rows of a ranking by hand, what keeps a run out of it, and who is rated against whom."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import measurement_of, run_spec
from report_records import ONE_KWH, record_of

from harness.errors import UserInputError
from harness.footprint.factors import factor
from harness.records import Failure, WorkCounts
from harness.report.ranking import RankingRow, per_kwh, ranked, ranking_row, ratings, stars_of
from harness.report.results import Editions


def row_of(*about: Any, **changes: Any) -> RankingRow:
    return ranking_row(record_of(*about, **changes), ONE_KWH)


def test_row_worked_by_hand():
    row = row_of()
    kwh = 29.0 * 1000 / 3.6e6  # 2,900 J at work over 100 generations
    assert row.energy.kwh == pytest.approx(kwh)
    assert row.energies["above_idle"].kwh == pytest.approx((2900 - 10 * 50) / 100 / 3600)
    assert row.energy.low < kwh < row.energy.high
    assert "node" not in row.energies  # no meter: missing, not zero
    assert row.j_per_unit == pytest.approx(2.9)  # ten tokens a generation
    assert row.unit == "token"
    assert row.carbon_g_co2e == pytest.approx(kwh * factor("grid", "usa-2023").value)
    assert row.phone_charges == pytest.approx(kwh / 0.019)
    assert row.latency_s == pytest.approx(0.1 * 4)  # 10 s over 100 generations, four at a time
    assert (row.mark, row.parameters, row.general, row.boundary) == ("simulated", 7_000_000, None, "1 of 1 GPU")
    assert row.left_out is None


def test_what_has_no_figure_is_left_out_with_its_reason_and_has_no_number():
    failure = Failure(kind="timeout", message="It took too long.", phase="measure")
    failed = row_of(status="failed", summary=None, failure=failure)
    no_work = row_of(summary=record_of().summary.model_copy(update={"generations": 0}))
    negative = row_of(energy_j=-100.0)
    assert failed.left_out == "failed: It took too long."
    assert "no generation was counted" in no_work.left_out
    assert "not above 0" in negative.left_out
    assert all(row.energy is None and row.carbon_g_co2e is None for row in (failed, no_work, negative))
    emptied = (measurement_of(work=WorkCounts(requests=0)),)
    assert "its windows counted no generation" in row_of(measurements=emptied).left_out
    for windows in ((), (measurement_of(rejected=True),)):
        assert "no window that the summary could rest on" in row_of(measurements=windows).left_out
    assert ranked([failed, no_work, negative]) == []
    assert ratings([failed, no_work, negative]) == {}


def test_ranked_by_task_and_energy_and_rated_among_models_of_one_board():
    rows = [row_of("a", 5100.0), row_of("b", 1100.0), row_of("a", 9100.0), row_of("c", 1e6, origin="measured")]
    assert [row.model for row in ranked(rows)] == ["b", "a", "a", "c"]
    among = ratings(rows)
    assert len({peers for peers, _ in among}) == 1  # the measured one has no peers
    band = among[(rows[0].peers, "equal bands")].bands
    # each model once, by its least: b 10 J and a 50 J a generation
    assert (band.low, band.high, band.models) == (pytest.approx(10 / 3600), pytest.approx(50 / 3600), 2)
    assert [stars_of(row, among, "equal bands").stars for row in rows[:3]] == [1, 5, 1]
    longer = row_of("b", spec=run_spec(model={"id": "b"}, text={"new_tokens": 500}))
    assert (rows[0].work, longer.work) == ("10 new tokens", "500 new tokens")
    assert longer.peers != rows[0].peers  # longer answers are other work
    assert stars_of(rows[3], among, "equal bands") is None


@pytest.mark.parametrize(("model", "general"), [("gpt2", False), ("bigscience/bloomz-560m", True)])
def test_replayed_model_is_general_only_where_the_study_asked_it_so(model, general):
    replay = {"runs": 30}
    record = record_of(model)
    replayed = record.model_copy(update={"spec": record.spec.model_copy(update={"replay": replay})})
    assert ranking_row(replayed, ONE_KWH).general is general


def test_edition_that_does_not_exist_is_an_error():
    with pytest.raises(UserInputError, match="nokia"):
        per_kwh(Editions(phone="nokia", car="epa-current", grid="usa-2023"))
