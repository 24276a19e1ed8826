"""Typed CSV lines: each is read or rejected, with its number, and an empty cell is never zero."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.store.duck import read_csv_lines

TYPES = {"name": "VARCHAR", "value": "DOUBLE", "note": "VARCHAR"}


def test_each_kind_of_line_worked_by_hand():
    lines = [b'a,1.5,"x, y"', b"b,,", b"c,abc,d", b"d,1", b"e,1,2,3", b'"f,1,2', b"g,1e3,z"]
    columns, rejected = read_csv_lines(lines, TYPES)
    assert columns["name"].tolist() == ["a", "b", "g"]
    assert columns["note"].tolist() == ["x, y", None, "z"]
    np.testing.assert_array_equal(columns["value"], [1.5, np.nan, 1000.0])
    assert [(line.number, line.reason) for line in rejected] == [
        (3, "cast"),
        (4, "missing columns"),
        (5, "too many columns"),
        (6, "stray character"),
    ]


def test_no_lines_are_no_rows():
    columns, rejected = read_csv_lines([], TYPES)
    assert [len(column) for column in columns.values()] == [0, 0, 0]
    assert rejected == []


line = st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1, max_size=20)
cells = st.lists(st.sampled_from(["a", "1", "", '"q"', '"', " ", "x,y", "é", "\t", "\r", "\0"]), min_size=1, max_size=5)


@settings(max_examples=25)
@given(st.lists(line | cells.map(",".join).filter(bool), max_size=6))
def test_every_line_is_read_or_rejected(texts):
    columns, rejected = read_csv_lines([text.encode() for text in texts], TYPES)
    assert len(columns["name"]) + len({reject.number for reject in rejected}) == len(texts)
    assert all(1 <= reject.number <= len(texts) for reject in rejected)
