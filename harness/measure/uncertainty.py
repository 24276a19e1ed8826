"""The standard uncertainty of one window, term by term. Pure.

    u^2(E) = (E u_gain)^2 + (T u_offset)^2 + 2 q^2/12 + edges + kappa s^2 T^2 / N_eff + ((T - T_busy) u_gap)^2

Every function returns joules. Terms marked common are shared by all windows on one board and never averaged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from harness.records import UncertaintyTerm


def gain_u_j(energy_j: float, gain_relative_u: float) -> float:
    """An uncalibrated sensor reads a fixed fraction too high or too low."""
    return abs(energy_j) * gain_relative_u


def offset_u_j(duration_s: float, offset_u_w: float) -> float:
    """An uncalibrated sensor reads a fixed number of watts too high or too low."""
    return duration_s * offset_u_w


def resolution_u_j(counter_step_j: float) -> float:
    """Both edges are read in whole counter steps, each off by up to one: 2 q^2 / 12."""
    return math.sqrt(2 / 12) * counter_step_j


def aligned_edges_u_j(stamp_interval_s: float, edge_power_w: float) -> float:
    """Both increments were seen within one poll interval: 2 (p P_edge)^2 / 12."""
    return math.sqrt(2 / 12) * stamp_interval_s * edge_power_w


def unaligned_edges_u_j(period_s: float, before_w: float, after_w: float) -> float:
    """The last update before each edge is up to one period old: P_c^2 (P_before^2 + P_after^2) / 12."""
    return period_s * math.sqrt((before_w**2 + after_w**2) / 12)


def undersampling_u_j(kappa: float, readings_sd_w: float, duration_s: float, effective_samples: float) -> float:
    """A sensor that sees 1 - kappa of the time samples a varying load: sqrt(kappa) s T / sqrt(N_eff)."""
    return math.sqrt(kappa) * readings_sd_w * duration_s / math.sqrt(max(1.0, effective_samples))


def gap_u_j(gap_s: float, gap_power_u_w: float) -> float:
    """Edges and delays were taken out at the null window's power, which is itself uncertain."""
    return gap_s * gap_power_u_w


def combined_u_j(terms: Iterable[UncertaintyTerm]) -> float:
    """Root of the sum of squares: the terms are independent."""
    return math.sqrt(math.fsum(term.standard_uncertainty_j**2 for term in terms))


def common_u_j(terms: Iterable[UncertaintyTerm]) -> float:
    """The part that all windows on one board share."""
    return combined_u_j(term for term in terms if term.common)


def run_u_j(terms: Iterable[UncertaintyTerm]) -> float:
    """The part that all windows of one run share, but not all runs on the board."""
    return combined_u_j(term for term in terms if not term.common and not term.averages)


def window_u_j(terms: Iterable[UncertaintyTerm]) -> float:
    """The part that is drawn anew in every window."""
    return combined_u_j(term for term in terms if not term.common and term.averages)


def lag_u_j(period_s: float, before_w: float, after_w: float) -> float:
    """What is told at an edge is up to a period old, at both ends alike: a rectangle of P |P_after - P_before|."""
    return period_s * abs(after_w - before_w) / math.sqrt(3)
