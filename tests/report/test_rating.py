"""Stars by hand: where the edges lie, on which side of one a value falls, and what an interval leaves open."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.rating import Stars, bands, stars


def test_equal_bands_part_the_range_and_quantiles_the_models():
    energies = [1.0, 2.0, 3.0, 4.0, 101.0]  # one dear model stretches the range to 100
    equal, quantile = bands(energies, "equal bands"), bands(energies, "quantiles")
    assert equal.edges == pytest.approx((21, 41, 61, 81))
    # of five sorted values the quantile q lies at place 4 q: 0.8, 1.6, 2.4, 3.2
    assert quantile.edges == pytest.approx((1.8, 2.6, 3.4, 4 + 0.2 * 97))
    assert [stars(equal, each).stars for each in energies] == [5, 5, 5, 5, 1]
    assert [stars(quantile, each).stars for each in energies] == [5, 4, 3, 2, 1]
    assert (equal.models, equal.low, equal.high) == (5, 1.0, 101.0)


def test_value_on_an_edge_has_the_better_stars_and_beyond_all_models_it_has_five_or_one():
    within = bands([0.0, 10.0], "equal bands")
    assert [stars(within, each).stars for each in (-1.0, 2.0, 2.1, 8.0, 8.1, 99.0)] == [5, 5, 4, 2, 1, 1]


def test_interval_that_crosses_an_edge_tells_what_it_leaves_open():
    within = bands([0.0, 10.0], "equal bands")
    settled, open_ = stars(within, 5.0, 4.5, 5.5), stars(within, 5.0, 3.9, 6.5)
    assert not settled.crosses
    assert settled.text == "★★★☆☆"
    assert open_ == Stars(stars=3, fewest=2, most=4)
    assert open_.text == "★★★☆☆ (2 to 4)"


@pytest.mark.parametrize("energies", [[], [1.0], [2.0, 2.0, 2.0]])
def test_no_range_has_no_stars(energies):
    assert bands(energies, "equal bands") is None
    assert bands(energies, "quantiles") is None


@given(st.lists(st.floats(1e-9, 1e9), min_size=2, max_size=30), st.sampled_from(["equal bands", "quantiles"]))
def test_less_energy_never_has_fewer_stars(energies, way):
    within = bands(energies, way)
    if within is not None:
        given_stars = [stars(within, each).stars for each in sorted(energies)]
        assert given_stars == sorted(given_stars, reverse=True)
        assert given_stars[0] == 5
        assert given_stars[-1] == 1 or way == "quantiles"  # ties at the dear end share the better stars
