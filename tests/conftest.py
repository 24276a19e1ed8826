"""No test asserts how long something takes, so no example of Hypothesis has a deadline either.

Forty examples each keep the whole suite within minutes on two cores; `--hypothesis-profile thorough` takes 400.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# Tests run side by side: the threads of numpy, torch and what is started would only wait for one another. Read when
# numpy is first imported, which is later than this.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("house", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=400)
settings.load_profile("house")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits longest begins first: started last, it would keep one worker busy when all others are done."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
