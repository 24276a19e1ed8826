"""No test asserts how long something takes, so no example of Hypothesis has a deadline either."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("house", deadline=None)
settings.load_profile("house")
