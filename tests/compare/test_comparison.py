"""What may be compared with what, the verdicts of a table, and how campaigns are matched."""

from __future__ import annotations

import pytest
from compare_records import BOARD, OTHER_BOARD, record_of
from fakes import source_info

from harness.compare.base import Compared
from harness.compare.comparison import compare_runs, compare_sides
from harness.compare.groups import matched
from harness.compare.sides import side_of
from harness.compare.verdicts import Limit
from harness.errors import UserInputError
from harness.measure.summary import summarize
from harness.records import Failure, RunRecord, WorkCounts
from harness.stats import holm

STEADY = [29.0, 29.1, 28.9, 29.05, 28.95]


def one(*records: RunRecord, **options) -> Compared:
    (told,) = compare_runs(records, **options).comparisons
    return told


def times(factor: float) -> list[float]:
    return [factor * energy_j for energy_j in STEADY]


def test_holm_by_hand():
    # Sorted: 0.005 x 4, 0.01 x 3, 0.03 x 2, then 0.04 x 1, which may not fall below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_verdicts():
    assert one(record_of(STEADY), record_of(times(0.8), "b")).verdict == "less"
    assert one(record_of(STEADY), record_of(times(1.2), "b")).verdict == "more"
    small = one(record_of(STEADY), record_of(times(1.02), "b"))
    assert (small.verdict, small.within_margin) == ("more", True)
    assert one(record_of(STEADY), record_of(times(1.001), "b")).verdict == "equivalent"
    assert one(record_of(STEADY), record_of(times(1.001), "b"), margin=0.002).verdict == "cannot tell"


def test_the_same_difference_is_less_sure_among_many():
    rough = [28.0, 30.0, 29.0, 27.5, 30.5]
    others = [record_of([1.07 * energy_j for energy_j in rough], f"b{index}") for index in range(4)]
    (alone,) = compare_runs([record_of(rough), others[0]]).comparisons
    table = compare_runs([record_of(rough), *others])
    assert len(table.comparisons) == 4
    assert len(compare_runs([record_of(rough), *others], all_pairs=True).comparisons) == 10
    first = table.comparisons[0]
    assert (first.low, first.high) == (alone.low, alone.high)
    assert first.p_different == pytest.approx(min(1.0, 4 * alone.p_different))
    assert first.simultaneous_low < first.low < first.high < first.simultaneous_high
    assert alone.simultaneous_low == alone.low


def test_repeats_that_would_decide_are_told_or_that_none_would():
    rough = [27.0, 31.0, 29.0, 26.0, 32.0]
    on_one = one(record_of(rough), record_of([1.08 * energy_j for energy_j in rough], "b"))
    assert on_one.verdict == "cannot tell"
    assert on_one.repeats_to_decide is not None
    needed = on_one.repeats_to_decide
    again = [1.08 * energy_j for energy_j in rough]
    times_over = -(-needed // 5) + 1
    decided = one(record_of(rough * times_over), record_of(again * times_over, "b"))
    assert decided.verdict == "more"
    on_two = one(record_of(STEADY), record_of(times(1.01), "b", sources=(OTHER_BOARD,)), margin=0.02)
    assert on_two.repeats_to_decide is None
    assert on_two.to_decide.startswith(
        "never: what repeats do not shrink is ±2.9% alone, mostly sensor gain; one board"
    )


def test_what_differs_in_kind_is_refused_and_then_said():
    h100 = source_info(id="GPU-1", device_name="Other GPU")
    baseline, other = record_of(STEADY), record_of(times(0.5), "b", sources=(h100,), origin="measured")
    with pytest.raises(UserInputError) as refused:
        compare_runs([baseline, other])
    assert (
        refused.value.message
        == "a-b1 and b-b1 cannot be compared: Fake GPU against Other GPU; simulated energy against measured energy."
    )
    assert "--across gpu,origin" in refused.value.hint
    with pytest.raises(UserInputError):
        compare_runs([baseline, other], across={"gpu"})
    told = one(baseline, other, across={"gpu", "origin"})
    assert told.across == (
        "across gpu: Fake GPU against Other GPU",
        "across origin: simulated energy against measured energy",
    )
    assert (told.cancels, told.marks) == ("nothing common cancels", "measured against simulated")


def test_a_generation_of_other_size_is_another_unit():
    long = record_of(times(5), "b", work={"output_tokens": 10_000}, text={"new_tokens": 100})
    with pytest.raises(UserInputError, match="10 tokens in a generation against 100"):
        compare_runs([record_of(STEADY), long])
    assert one(record_of(STEADY), long, per="token").ratio == pytest.approx(0.5)
    across = one(record_of(STEADY), long, across={"unit"})
    assert across.ratio == pytest.approx(5)
    assert across.cancels.startswith("the gain of the same board cancels")  # the board is the same all the same


def test_what_has_no_figure_is_named():
    failed = record_of(STEADY, "b").model_copy(
        update={"status": "failed", "summary": None, "failure": Failure(kind="any", message="No memory.", phase="load")}
    )
    silent = record_of(STEADY, "c", work={"output_tokens": 0})
    nothing = record_of([0.1, -0.1, 0.2, -0.2], "d")
    told = compare_runs([record_of(STEADY), record_of(STEADY, "e"), failed, nothing, silent], per="token")
    reasons = {each.name.split("/")[1][0]: each.reason for each in told.left_out}
    assert reasons["b"] == "It has no energy: No memory."
    assert "may be zero or less" in reasons["d"]
    assert reasons["c"] == "no tokens were counted, so there is no energy of one"
    with pytest.raises(UserInputError, match=r"only tests/a-b1-\w+ was found .*No memory"):
        compare_runs([record_of(STEADY), failed])
    kept = record_of(STEADY, "g")
    idle = kept.measurements[4].model_copy(update={"work": WorkCounts()})
    rejected = [window.model_copy(update={"rejected": True}) for window in kept.measurements]
    for measurements, says in (
        ((*kept.measurements[:1], *rejected[1:]), "Fewer than two of its windows"),
        ((*kept.measurements[:4], idle), "no generation"),
    ):
        with pytest.raises(UserInputError, match=says):
            compare_runs([record_of(STEADY), kept.model_copy(update={"measurements": measurements})])
    windows = (*kept.measurements[:4], rejected[4])
    summary = summarize(windows, kept.sources, "no host", 0.02)
    four = kept.model_copy(update={"measurements": windows, "summary": summary})
    assert one(record_of(STEADY), four).method_told == "unpaired (Welch), 5 and 4 repeats"
    with pytest.raises(UserInputError, match="named twice"):
        compare_runs([record_of(STEADY), record_of(STEADY)])
    assert "few repeats (f-b1 has 2)" in one(record_of(STEADY), record_of([29.0, 29.1], "f")).notes[0]
    again = one(record_of(STEADY), record_of(times(1.1)))  # the same spec, run another time
    assert again.ratio == pytest.approx(1.1)
    assert (again.baseline[-4:], again.other[-4:]) == (" (1)", " (2)")
    with pytest.raises(UserInputError, match="node was not measured: no host"):
        compare_runs([record_of(STEADY), record_of(STEADY, "e")], boundary="node")


def test_campaigns_are_matched_by_what_they_share():
    def side(model: str, batch_size: int, dtype: str):
        return side_of(record_of(STEADY, model, batch_size=batch_size, dtype=dtype, campaign=dtype), "gpu", dtype)

    half = [side("a", 1, "float16"), side("a", 8, "float16"), side("b", 1, "float16")]
    full = [side("b", 1, "float32"), side("a", 8, "float32"), side("c", 1, "float32")]
    sets, left_out = matched([half, full])
    assert [[each.label for each in pair] for pair in sets] == [["a-b8", "a-b8"], ["b-b1", "b-b1"]]
    assert [(each.name.split("/")[1][:4], each.reason) for each in left_out] == [
        ("a-b1", "no run of float32 matches it"),
        ("c-b1", "no run of float16 matches it"),
    ]
    _, several = matched([[*half, half[0]], full[:2]])
    assert all("match it alike" in each.reason for each in several if each.name == half[0].name) or several


def checked(limit: Limit, *records: RunRecord) -> tuple[bool, str]:
    check = compare_sides([[side_of(record, "gpu", "any") for record in records]], "gpu", limit=limit).check
    assert check is not None
    return check.failed, check.lines[0]


def test_the_limit_fails_where_more_is_shown_and_strictly_unless_it_is_ruled_out():
    rough = [27.0, 31.0, 29.0, 26.0, 32.0]
    more, less = (record_of(STEADY), record_of(times(1.1), "b")), (record_of(STEADY), record_of(times(0.9), "b"))
    unsure = record_of(rough), record_of([1.04 * each for each in rough], "b")
    assert checked(Limit(0.05), *more)[1].startswith("fails: b-b1 takes +10.0% against a-b1")
    assert checked(Limit(0.05), *unsure)[1].startswith("cannot tell")
    assert checked(Limit(0.05, strict=True), *unsure)[0]
    assert checked(Limit(0.05, strict=True), *less)[1].startswith("holds")
    assert "shown to be more than +0.04% (p = " in checked(Limit(0.0004), *more)[1]


def test_what_is_equivalent_holds_the_limit_of_its_margin_and_the_digits_tell_both_apart():
    # Half-widths of ln r for 5 against 5 windows: t(8) = 2.306 two-sided, 1.860 one-sided, times u.
    # Found so that 1.05 lies between: shown one-sided, though the two-sided interval reaches beyond it.
    spread = [29 * (1 + 0.028 * z) for z in (-1, -0.5, 0, 0.5, 1)]
    records = record_of(spread), record_of([1.02 * each for each in spread], "b")
    told = one(*records)
    assert told.high is not None
    assert (told.verdict, told.high > 1.05) == ("equivalent", True)
    failed, line = checked(Limit(0.05, strict=True), *records)
    assert (failed, line.split(":")[0]) == (False, "holds")
    assert "one-sided p = " in line


def test_above_idle_the_offset_drops_out():
    told = one(record_of(STEADY), record_of(times(2), "b"), boundary="above-idle")
    # 50 W of idle for 10 s are 5 J of each generation.
    assert told.ratio == pytest.approx((58 - 5) / (29 - 5))
    assert {term.name: term.relative_u for term in told.budget}["sensor offset"] == 0


def test_the_sides_own_interval_is_that_of_the_summary():
    record = record_of(STEADY)
    assert record.summary is not None
    (side, _) = compare_runs([record, record_of(STEADY, "b", sources=(BOARD,))]).sides
    assert (side.energy_j, side.low_j) == pytest.approx((29.0, record.summary.gpu_energy_j.low))
