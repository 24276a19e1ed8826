"""The sensor's period as a run's samples show it, from renewals at instants known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import source_info
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.period import keeps_phase, period_disagrees, with_seen_period


def polled(period_s: float, span_s: float, step_s: float = 0.02, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A reading renewed every period with noise, polled every step."""
    rng = np.random.default_rng(seed)
    t_s = np.arange(0.0, span_s, step_s)
    renewals = 250.0 + rng.normal(0, 5, int(span_s / period_s) + 2)
    return t_s, renewals[np.floor(t_s / period_s + 0.3).astype(int)]


@given(st.floats(0.085, 0.14), st.integers(0, 99))
def test_period_of_the_renewals_is_found(period_s, seed):
    seen = with_seen_period(source_info(sensor_period_s=0.1), *polled(period_s, 10.0, seed=seed))
    assert seen.sensor_period_u_s is not None
    assert seen.sensor_period_s == pytest.approx(period_s, rel=0.003)
    assert abs(seen.sensor_period_s - period_s) < 3 * seen.sensor_period_u_s
    assert seen.model_copy(update={"sensor_period_s": 0.1, "sensor_period_u_s": None}) == source_info()


def test_longer_look_makes_it_surer():
    short, long = (with_seen_period(source_info(), *polled(0.1012, span_s)) for span_s in (2.0, 20.0))
    assert short.sensor_period_u_s is not None
    assert long.sensor_period_u_s is not None
    assert long.sensor_period_u_s < short.sensor_period_u_s / 9


@pytest.mark.parametrize(
    ("t_s", "power_w"),
    [
        pytest.param(np.array([]), np.array([]), id="no polls"),
        pytest.param(np.array([0.1]), np.array([99.0]), id="one poll"),
        pytest.param(np.arange(0, 10, 0.02), np.full(500, 250.0), id="a reading that never changes"),
        pytest.param(*polled(0.1, 10.0, step_s=0.25), id="polls slower than the renewals"),
        pytest.param(*polled(0.2, 10.0), id="a change every second period, as where readings repeat"),
        pytest.param(*polled(0.05, 10.0), id="fewer than three polls in a period, where others fit as well"),
    ],
)
def test_hidden_period_leaves_the_profiles(t_s, power_w):
    assert with_seen_period(source_info(), t_s, power_w) == source_info()


@pytest.mark.parametrize(
    ("u_s", "batch_s", "kept"),
    [
        (None, 0.28, True),  # 2.8 periods, each unsure by 0.03/sqrt(3): 0.048 of one
        (None, 0.29, False),  # 0.0502
        (1e-5, 49.0, True),  # 490 periods, each unsure by 1e-4: 0.049
        (1e-5, 51.0, False),
    ],
)
def test_phase_after_a_batch_is_known_as_long_as_the_period_allows(u_s, batch_s, kept):
    assert keeps_phase(source_info(sensor_period_s=0.1, sensor_period_u_s=u_s), batch_s) is kept


@pytest.mark.parametrize(
    ("seen_s", "code"), [(0.1049, None), (0.1051, "period-disagrees"), (0.0949, "period-disagrees")]
)
def test_another_period_than_the_profiles_is_told(seen_s, code):
    caveat = period_disagrees(source_info(sensor_period_s=0.1), source_info(sensor_period_s=seen_s))
    assert (caveat and caveat.code) == code
