"""Detectors inside a detector: by name with their defaults, or configured."""

from __future__ import annotations

from dataclasses import replace

from agent.detectors.base.streaming import StreamingDetector
from agent.detectors.univariate.cusum import Cusum
from agent.detectors.univariate.ewma import Ewma
from agent.detectors.univariate.page_hinkley import PageHinkley
from agent.detectors.univariate.robust_z import RobustZ
from agent.detectors.univariate.seasonal import Seasonal
from agent.detectors.univariate.spatial import Spatial

NAMED: dict[str, type[StreamingDetector]] = {
    "cusum": Cusum,
    "ewma": Ewma,
    "page_hinkley": PageHinkley,
    "robust_z": RobustZ,
    "seasonal": Seasonal,
    "spatial": Spatial,
}
"""What a program can name without making it; a configuration can name any detector of one metric."""


def fresh(part: str | StreamingDetector, metric: str) -> StreamingDetector:
    """A detector of `metric`, new, with the settings of `part`.

    Raises:
        ValueError: if it is no detector that gives a score for each value of one metric.
    """
    if isinstance(part, str):
        if part not in NAMED:
            raise ValueError(
                f"unknown part {part!r}; known are {', '.join(NAMED)}: it must be one of them, or a table"
            )
        return NAMED[part](metric)
    if not isinstance(part, StreamingDetector):
        raise ValueError(f"{type(part).__name__} does not score each value of one metric; it cannot be a part")
    return replace(part, metric=metric)
