"""Spikes and bursts of noise: a row, or some rows, that move more than the series is used to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from agent.detectors.decay import Decay, keep
from agent.detectors.robust_z import with_history
from agent.detectors.streaming import COUNT, Arrays, Shape, Streaming, ratio
from sensors.batch import Floats, Ints


@dataclass
class Spike(Streaming):
    """Distance of a value from the median of the five before it, over the usual such distance.

    A single wrong value stands out; a step scores once or twice and is then the new level. About 1 is usual,
    limits of 8 to 20 are. Scale and offset of the metric do not matter.

    Attributes:
        half_life: rows after which a distance counts half in the usual distance.
        warmup: rows before the first score.
    """

    half_life: float = 500.0
    warmup: int = 30
    _decay: Decay = field(init=False, repr=False, compare=False)

    usual_limit: ClassVar[float] = 12.0

    def _check(self) -> None:
        if not self.half_life > 0.0:
            raise ValueError(f"half_life must be above 0, not {self.half_life}")
        self._decay = Decay(keep(self.half_life))

    def _shapes(self) -> dict[str, Shape]:
        return {"ring": ((5,), np.float64, np.nan), "size": ((), np.float64, 0.0), "weight": ((), np.float64, 0.0)}

    @property
    def span(self) -> int:
        return self._decay.span

    @property
    def needs(self) -> int:
        return max(6, self.warmup)

    def _scores(self, state: Arrays, x: Floats, take: Ints, time: Ints) -> Floats:
        place = state[COUNT] % self.span
        whole = with_history(state["ring"], x, take)
        five = np.sort(np.lib.stride_tricks.sliding_window_view(whole, 5, axis=1)[:, : x.shape[1]], axis=2)
        middle = five[:, :, 2]
        known = ~np.isnan(five[:, :, 4])
        distance = np.where(known, np.abs(x - middle), 0.0)
        distance[distance <= 1e-12 * np.abs(x)] = 0.0
        weight = self._decay.run(state["weight"], place, known.astype(np.float64), take)[:, :-1]
        size = self._decay.run(state["size"], place, distance, take)[:, :-1] / np.where(weight > 0.0, weight, 1.0)
        return np.where(known & (weight > 0.0), ratio(distance, size), np.nan)


@dataclass
class NoiseBurst(Streaming):
    """Root mean square of the last steps over that of the long run: how much more restless than usual.

    About 1 is usual; limits of 2 to 4 are. Level and slow movement do not matter, nor scale and offset.

    Attributes:
        window: rows that count as "now"; a power of 2.
        half_life: rows after which a step counts half in the long run.
        warmup: rows before the first score.
    """

    window: int = 16
    half_life: float = 500.0
    warmup: int = 64
    _decay: Decay = field(init=False, repr=False, compare=False)

    usual_limit: ClassVar[float] = 3.0

    def _check(self) -> None:
        if self.window < 2 or self.window & (self.window - 1) or not self.half_life > 0.0:
            raise ValueError(
                f"window must be a power of 2 and half_life above 0, not {self.window}, {self.half_life}"
            )
        self._decay = Decay(keep(self.half_life))

    def _shapes(self) -> dict[str, Shape]:
        size = ((), np.float64, 0.0)
        return {"ring": ((self.window + 1,), np.float64, np.nan), "steps": size, "weight": size}

    @property
    def span(self) -> int:
        return self._decay.span

    @property
    def needs(self) -> int:
        return max(2 * self.window, self.warmup)

    def _scores(self, state: Arrays, x: Floats, take: Ints, time: Ints) -> Floats:
        place = state[COUNT] % self.span
        steps = np.diff(with_history(state["ring"], x, take), axis=1)  # the last `window` before, then one a row
        steps = np.where(np.isnan(steps), 0.0, steps)
        square = steps * steps
        now = square
        width = 1
        while width < self.window:
            now = now[:, width:] + now[:, :-width]
            width *= 2
        length = x.shape[1]
        # The long run ends where "now" begins.
        weight = self._decay.run(state["weight"], place, np.ones_like(x), take)[:, 1:]
        long = self._decay.run(state["steps"], place, square[:, :length], take)[:, 1:]
        return ratio(np.sqrt(now[:, -length:] / self.window), np.sqrt(long / weight))
