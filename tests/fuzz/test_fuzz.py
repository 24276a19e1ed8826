"""A few inputs for every reader, the same ones each time; scripts/fuzz gives each 10,000 new ones."""

from __future__ import annotations

import pytest
from fuzz.targets import TARGETS, Target
from hypothesis import HealthCheck, given, settings

CASES = [pytest.param(target, id=target.name) for target in TARGETS]


@pytest.mark.parametrize("target", CASES)
def test_no_input_ends_in_another_error_than_ours(target: Target) -> None:
    @settings(
        max_examples=30 if target.quick else 6, derandomize=True, database=None, suppress_health_check=HealthCheck
    )
    @given(target.inputs)
    def check(content: bytes) -> None:
        target.run(content)

    check()
