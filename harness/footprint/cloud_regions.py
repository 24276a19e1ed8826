"""Cloud regions of which no grid intensity is on record (Amazon's, Microsoft's): where they stand, to offer it."""

from __future__ import annotations

import csv
import functools
from importlib.resources import files
from typing import NamedTuple

_PROVIDERS = {"aws": "Amazon", "azure": "Microsoft"}


class CloudRegion(NamedTuple):
    """A region and the grids that its place goes by, the narrower first: "us-virginia", "usa"."""

    provider: str
    region: str
    places: tuple[str, ...]

    @property
    def owner(self) -> str:
        """Whose it is."""
        return _PROVIDERS[self.provider]


def cloud_region(wanted: str) -> CloudRegion | None:
    """The region that a name means: "aws-us-east-1", "us-east-1", "azure-west-europe", "westeurope"; None for none."""
    provider, _, rest = wanted.partition("-")
    named = provider if provider in _PROVIDERS and rest else None
    name = rest if named else wanted
    for each in _regions():
        spoken = name.replace("-", "") if each.provider == "azure" else name
        if named in (None, each.provider) and spoken == each.region:
            return each
    return None


@functools.cache
def _regions() -> tuple[CloudRegion, ...]:
    text = files("harness").joinpath("data", "cloud_regions.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return tuple(
        CloudRegion(
            row["provider"],
            row["region"],
            (*((f"us-{row['state']}",) if row["state"] else ()), row["country"]),
        )
        for row in rows
    )
