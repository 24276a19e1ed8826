"""Bars and sparklines of block characters."""

from __future__ import annotations

from collections.abc import Sequence

_EIGHTHS = " ▏▎▍▌▋▊▉"
_LEVELS = "▁▂▃▄▅▆▇█"


def bar(value: float, largest: float, width: int) -> str:
    """A bar as long as the value, to an eighth of a character; the largest fills the width."""
    eighths = round(max(0.0, value) / largest * width * 8) if largest > 0 else 0
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + _EIGHTHS[rest].strip()).ljust(width)


def interval_bar(low: float, high: float, largest: float, width: int) -> str:
    """A full bar up to the low end of an interval and a shaded one from there to its high end, to a character."""
    full, all_ = (min(width, round(max(0.0, end) / largest * width)) if largest > 0 else 0 for end in (low, high))
    return ("█" * full + "▒" * (max(all_, 1) - full)).ljust(width)


def sparkline(values: Sequence[float | None], largest: float) -> str:
    """A character for each value, from 0 to the largest; a blank where there is none."""
    top = len(_LEVELS) - 1
    return "".join(
        " " if value is None else _LEVELS[min(top, max(0, round(value / largest * top)))] if largest > 0 else _LEVELS[0]
        for value in values
    )
