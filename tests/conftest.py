"""No test asserts how long something takes, so no example of Hypothesis has a deadline either.

Forty examples each keep the whole suite within minutes on two cores; `--hypothesis-profile thorough` takes 400.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("house", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=400)
settings.load_profile("house")
