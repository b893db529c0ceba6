"""The measures of a disturbance against the obvious way: a least-squares fit at every place, then plain loops."""

import itertools
import math

import numpy as np
import pytest

from agent.detectors.power_quality.measures import MEASURES, harmonics, measure
from agent.detectors.power_quality.sine import follow

RATE, NOMINAL, PERIOD = 1000, 50, 20


def damaged(kind):
    """A second of mains with 1 V of noise and one disturbance."""
    rng = np.random.default_rng(3)
    t = np.arange(1000)
    x = 300 * np.sin(2 * np.pi * 50.02 / 1000 * t + 0.7) + rng.standard_normal(1000)
    if kind == "sag":
        x[400:500] *= 0.6
    elif kind == "spike":
        x[700] += 60
    elif kind == "jump":
        x[500:] = 300 * np.sin(2 * np.pi * 50.02 / 1000 * t[500:] + 1.2) + rng.standard_normal(500)
    elif kind == "noise":
        x[300:380] += 30 * rng.standard_normal(80)
    elif kind == "stuck":
        x[600:650] = x[600]
    elif kind == "offset":
        x[200:300] += 40
    return x


def fits(x, frequency):
    """Amplitude, phase and offset of the sine fitted over a period at each place, and what is left of each sample."""
    places = []
    for place in range(len(x) - PERIOD + 1):
        t = np.arange(place, place + PERIOD)
        angle = 2 * np.pi * frequency * t
        (a, b, c), *_ = np.linalg.lstsq(np.stack([np.cos(angle), np.sin(angle), np.ones(PERIOD)], axis=1), x[t])
        places.append((a, b, c))
    left = []
    for t, value in enumerate(x):
        a, b, c = places[min(max(t - PERIOD // 2, 0), len(x) - PERIOD)]
        angle = 2 * math.pi * frequency * t
        left.append(value - a * math.cos(angle) - b * math.sin(angle) - c)
    return [math.hypot(a, b) for a, b, _ in places], [math.atan2(-b, a) for a, b, _ in places], left


def turned(phase, amplitude, lag):
    arcs = []
    for p in range(len(phase) - lag):
        angle = (phase[p + lag] - phase[p] + math.pi) % (2 * math.pi) - math.pi
        arcs.append(abs(angle) * min(amplitude[p], amplitude[p + lag]))
    return max(arcs)


@pytest.mark.parametrize("kind", ["none", "sag", "spike", "jump", "noise", "stuck", "offset"])
def test_sway_turn_bend_burst_peak_and_flat_are_those_of_the_fits(kind):
    x = damaged(kind)
    track = follow(x[None, :], NOMINAL / RATE)
    found = dict(zip(MEASURES, measure(x[None, :], track, harmonics(track))[0], strict=True))
    amplitude, phase, left = fits(x, track.frequency[0])
    two = 2 * PERIOD
    means = [sum(amplitude[p : p + two]) / two for p in range(len(amplitude) - two + 1)]
    quarter = PERIOD // 4
    runs, longest = 0, 0
    for before, now in itertools.pairwise(x):
        runs = runs + 1 if now == before else 0
        longest = max(longest, runs)
    expected = {
        "sway": max(abs(b - a) for a, b in zip(means, means[two:], strict=False)),
        "turn": turned(phase, amplitude, PERIOD),
        "bend": turned(phase, amplitude, 4 * PERIOD),
        "burst": max(
            math.sqrt(sum(r * r for r in left[i : i + quarter]) / quarter) for i in range(len(x) - quarter + 1)
        ),
        "peak": max(abs(r) for r in left),
        "flat": longest,
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-6, abs=1e-6), name
