from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.footprint.propagation import Input, Step, evaluate


def number(
    name: str, value: float, low: float | None = None, high: float | None = None, u: float | None = None
) -> Input:
    return Input(
        name=name,
        label=name,
        value=value,
        low=low,
        high=high,
        standard_uncertainty=u,
        unit="1",
        origin="given",
        source="",
    )


def step(name: str, formula: str, *needs: str) -> Step:
    code = compile(formula, name, "eval")
    return Step(name, name, "1", formula, needs, lambda *values: eval(code, {}, dict(zip(needs, values, strict=True))))


def test_a_product_has_the_range_of_its_ends() -> None:
    line = evaluate([number("a", 2, 1, 3), number("b", 10, 8, 20)], [step("c", "a * b", "a", "b")])["c"]
    assert (line.value, line.low, line.high) == (20, 8, 60)


def test_an_input_used_twice_moves_once() -> None:
    a = number("pue", 1.5, 1.0, 2.0)
    lines = evaluate([a], [step("up", "pue * 3", "pue"), step("same", "up / pue", "up", "pue")])
    assert (lines["up"].low, lines["up"].high) == (3, 6)
    same = lines["same"]  # 3 whatever the PUE is; multiplied as if independent it would reach from 1.5 to 6
    assert (same.low, same.value, same.high) == pytest.approx((3, 3, 3))
    assert same.standard_uncertainty == pytest.approx(0, abs=1e-12)
    assert same.inputs == ("pue",)


def test_a_sum_of_two_shares_of_one_input_adds_them_and_not_their_squares() -> None:
    x = number("x", 10, u=1.0)
    line = evaluate([x], [step("a", "x * 2", "x"), step("b", "a + 3 * x", "a", "x")])["b"]
    assert line.standard_uncertainty == pytest.approx(5.0)  # quadrature of 2 and 3 would be 3.6


def test_independent_uncertainties_add_in_quadrature() -> None:
    inputs = [number("a", 100, u=3.0), number("b", 50, u=4.0)]
    assert evaluate(inputs, [step("s", "a + b", "a", "b")])["s"].standard_uncertainty == pytest.approx(5.0)
    product = evaluate(inputs, [step("p", "a * b", "a", "b")])["p"]
    assert product.standard_uncertainty == pytest.approx(math.hypot(50 * 3, 100 * 4))


def test_a_range_counts_as_rectangular_about_its_value() -> None:
    centred = evaluate([number("a", 10, 7, 13)], [step("b", "a", "a")])["b"]
    assert centred.standard_uncertainty == pytest.approx(3 / math.sqrt(3), rel=1e-3)
    at_its_end = evaluate([number("a", 3, 3, 6)], [step("b", "a", "a")])["b"]  # rms of 0 to 3 evenly: sqrt(9/3)
    assert at_its_end.standard_uncertainty == pytest.approx(math.sqrt(3), rel=1e-3)


def test_an_input_without_a_range_is_named_and_not_taken_for_zero() -> None:
    exact, silent = number("exact", 2, 2, 2), number("silent", 5)
    line = evaluate([exact, silent], [step("c", "exact * silent", "exact", "silent")])["c"]
    assert line.unknown == ("silent",)
    assert (line.low, line.high, line.standard_uncertainty) == (10, 10, 0)


@pytest.mark.parametrize(
    ("inputs", "steps"),
    [
        ([number("a", 1), number("a", 2)], []),
        ([number("a", 1)], [step("a", "a", "a")]),
        ([number("a", 1)], [step("b", "c", "c")]),
        (
            [number(f"x{i}", 1, 0, 2) for i in range(15)],
            [step("s", "+".join(f"x{i}" for i in range(15)), *[f"x{i}" for i in range(15)])],
        ),
    ],
)
def test_a_graph_that_does_not_hang_together_is_our_bug(inputs: list[Input], steps: list[Step]) -> None:
    with pytest.raises(ValueError, match=r"twice|not there|more than"):
        evaluate(inputs, steps)


positive = st.floats(min_value=0.1, max_value=100)


@given(st.lists(st.tuples(positive, positive, positive), min_size=4, max_size=4), st.integers(0, 2**32 - 1))
def test_no_draw_from_the_ranges_leaves_the_interval(ends: list[tuple[float, float, float]], seed: int) -> None:
    inputs = [number(name, *(sorted(three)[i] for i in (1, 0, 2))) for name, three in zip("abcd", ends, strict=True)]
    steps = [step("f", "a * b", "a", "b"), step("g", "f * c / d + b / d", "f", "b", "c", "d")]
    line = evaluate(inputs, steps)["g"]
    draws = {each.name: np.random.default_rng(seed).uniform(each.low, each.high, 200) for each in inputs}
    results = draws["a"] * draws["b"] * draws["c"] / draws["d"] + draws["b"] / draws["d"]
    assert line.low * (1 - 1e-9) <= results.min()
    assert results.max() <= line.high * (1 + 1e-9)
    assert line.low <= line.value <= line.high


@given(st.floats(0.5, 50), st.floats(0.001, 0.05), st.floats(0.001, 0.05), st.integers(0, 2**32 - 1))
def test_quadrature_agrees_with_sampling(size: float, ua: float, ub: float, seed: int) -> None:
    inputs = [number("a", size, u=size * ua), number("b", 2.0, u=2.0 * ub)]
    stated = evaluate(inputs, [step("f", "a * b", "a", "b"), step("g", "f + a", "f", "a")])["g"].standard_uncertainty
    draw = np.random.default_rng(seed)
    a, b = draw.normal(size, size * ua, 20_000), draw.normal(2.0, 2.0 * ub, 20_000)
    assert stated == pytest.approx(float(np.std(a * b + a)), rel=0.05)
