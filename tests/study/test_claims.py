"""Verdicts follow from readings; nothing is decided by hand."""

from __future__ import annotations

import pytest

from harness.study.catalog import read_data
from harness.study.claims import ReadValue, judge
from harness.study.readings import READINGS


def reading(value, agrees, words="stated"):
    return ReadValue(reading=words, words=words, value=value, agrees=agrees)


@pytest.mark.parametrize(
    ("stated", "other", "verdict", "says"),
    [
        ((1.0, "rounded"), (2.0, "no"), "holds", "gives it"),
        ((1.0, "truncated"), (2.0, "rounded"), "holds-cut-off", "cut off"),
        ((1.0, "no"), (2.0, "rounded"), "only-otherwise", "The data gives 1; the number is that of: other (2)"),
        ((1.0, "no"), (2.0, "truncated"), "only-otherwise", "(2, cut off)"),
        ((1.0, "no"), (2.0, "no"), "does-not-hold", "other: 2."),
        ((None, "no"), (2.0, "rounded"), "never-run", "No run of stated exists; the number is that of: other"),
        ((None, "no"), (None, "no"), "never-run", "no other reading"),
    ],
)
def test_verdict_follows_from_what_the_readings_give(stated, other, verdict, says):
    found, words = judge(reading(*stated), (reading(*other, words="other"),))
    assert found == verdict
    assert says in words


def test_every_reading_that_gives_the_number_is_said_and_what_stands_beside_it_always():
    others = (reading(16.41, "rounded", "one"), reading(9.0, "no", "two"), reading(16.67, "truncated", "three"))
    verdict, words = judge(reading(122.3, "no"), others, reading(26.0, "no", "at the stated factor"))
    assert verdict == "only-otherwise"
    assert words.startswith("The data gives 122.3; the number is that of: one (16.41), or of: three (16.67, cut off);")
    assert words.endswith("; at the stated factor: 26.")


def test_every_claim_names_readings_that_exist_and_how_its_wording_is_known():
    rows = read_data("study_claims.csv")
    assert len({row["id"] for row in rows}) == len(rows) >= 20
    for row in rows:
        assert {row["stated"], *filter(None, [*row["others"].split(";"), row["beside"]])} <= set(READINGS)
        assert row["wording"] in {"primary", "secondary", "memory"}
        assert float(row["unit_of_last_digit"]) > 0
