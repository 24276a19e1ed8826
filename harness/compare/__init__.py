"""Ratios of energy with intervals and verdicts. Start at `comparison.compare_runs(records) -> base.Comparison`."""
