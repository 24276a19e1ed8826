"""Energy Harness: what a generation costs in energy, with the uncertainty of each number."""

__version__ = "0.1.0"
