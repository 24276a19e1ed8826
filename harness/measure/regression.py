"""Weighted least squares with two kinds of doubt: what differs between rows, and what all rows share. Pure.

    beta = G y,  G = (X' W X)^-1 X' W,  W = diag(1 / u_i^2)
    cov(beta) = c (X' W X)^-1 + sum over shared errors s of (G s)(G s)'

A shared error (a sensor's gain: s_i = u_g y_i; its offset: s_i = u_o T_i) is one unknown number times s, the same in
all rows, so it moves the coefficients together and is never averaged away. c = max(1, chi^2 / (n - p)), the square of
the Birge ratio, widens what rows state where they scatter by more than that. Sources: JCGM 102:2011 (GUM, several
outputs), 6.2; Birge, Phys. Rev. 40 (1932) 207; left-out residuals r_i / (1 - h_i): Allen, Technometrics 16 (1974) 125.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from harness.errors import MeasurementInvalid
from harness.stats import FloatArray, student_t_quantile

MAX_CONDITION = 300.0  # of the columns at length one: beyond it one is made of the others but for half a per cent
MAX_LEVERAGE = 1 - 1e-6


@dataclass(frozen=True, eq=False)
class Fit:
    """Coefficients with what they rest on.

    Shapes: p coefficients, n rows. `own_covariance` holds what differs between rows, widened by `inflation` squared;
    `shared` what all rows share. `left_out` are the residuals of each row from a fit without it, `left_out_u` their
    standard uncertainty by what rows state (not widened); NaN where a row alone decides a coefficient.
    """

    coefficients: FloatArray
    own_covariance: FloatArray
    shared: FloatArray
    fitted: FloatArray
    residuals: FloatArray
    left_out: FloatArray
    left_out_u: FloatArray
    chi_squared: float
    degrees: int
    inflation: float
    condition: float

    def own_u(self) -> FloatArray:
        """Standard uncertainty of each coefficient by what differs between rows, shape (p,)."""
        return np.sqrt(np.diag(self.own_covariance))

    def shared_u(self) -> FloatArray:
        """Standard uncertainty of each coefficient by what all rows share, shape (p,)."""
        return np.sqrt(np.diag(self.shared))

    def half_widths(self, confidence: float = 0.95) -> FloatArray:
        """Half of each coefficient's interval, shape (p,): both kinds expanded apart and added in quadrature.

        Student t where the scatter was estimated from the residuals (inflation above 1), otherwise the normal factor.
        """
        normal = NormalDist().inv_cdf(0.5 + confidence / 2)
        own = student_t_quantile(confidence, self.degrees) if self.inflation > 1 else normal
        return np.hypot(own * self.own_u(), normal * self.shared_u())


def fit_weighted(design: FloatArray, values: FloatArray, u: FloatArray, shared: Sequence[FloatArray] = ()) -> Fit:
    """Weighted least squares.

    Args:
        design: Shape (n, p), any units per column.
        values: Shape (n,).
        u: Standard uncertainty of each value from what differs between rows, shape (n,), above 0.
        shared: One array of shape (n,) for each error that all rows share: what one standard uncertainty of it adds to
            each value.

    Raises:
        MeasurementInvalid: Fewer than one row more than columns, an uncertainty that is not above 0, or columns that
            cannot be told apart.
    """
    row_count, column_count = design.shape
    degrees = row_count - column_count
    if degrees < 1:
        raise MeasurementInvalid(f"{row_count} rows cannot decide {column_count} coefficients and be checked.")
    if not (np.isfinite(u).all() and (u > 0).all()):
        raise MeasurementInvalid("Every value needs a standard uncertainty above 0.")
    condition = column_condition(design / u[:, None])
    if not condition <= MAX_CONDITION:
        raise MeasurementInvalid("The columns of the design cannot be told apart.")
    scale = np.linalg.norm(design / u[:, None], axis=0)
    q, r = np.linalg.qr(design / u[:, None] / scale)
    gain = np.linalg.solve(r, q.T) / scale[:, None] / u[None, :]  # G, shape (p, n)
    coefficients = gain @ values
    fitted = design @ coefficients
    residuals = values - fitted
    chi_squared = float(np.sum((residuals / u) ** 2))
    inflation = math.sqrt(max(1.0, chi_squared / degrees))
    unscaled = (gain * u) @ (gain * u).T  # (X' W X)^-1
    moved = [gain @ error for error in shared]
    leverage = np.sum(q * q, axis=1)
    decided = leverage < MAX_LEVERAGE
    rest = np.where(decided, 1 - leverage, np.nan)
    return Fit(
        coefficients=coefficients,
        own_covariance=unscaled * inflation**2,
        shared=sum((np.outer(each, each) for each in moved), np.zeros((column_count, column_count))),
        fitted=fitted,
        residuals=residuals,
        left_out=residuals / rest,
        left_out_u=u / np.sqrt(rest),
        chi_squared=chi_squared,
        degrees=degrees,
        inflation=inflation,
        condition=condition,
    )


def column_condition(columns: FloatArray) -> float:
    """Ratio of the largest to the smallest singular value of columns scaled to length one; infinite for one of zeros.

    Scaled, so that the units of the columns do not enter (Belsley, Kuh and Welsch, Regression Diagnostics, 1980, 3.2).
    """
    norms = np.linalg.norm(columns, axis=0)
    if columns.shape[0] < columns.shape[1] or (norms == 0).any():
        return math.inf
    singular = np.linalg.svd(columns / norms, compute_uv=False)
    return float(singular[0] / singular[-1]) if singular[-1] > 0 else math.inf
