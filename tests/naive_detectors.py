"""The obvious slow version of each streaming detector: one series, a list of floats in, a list of scores out."""

import math

import numpy as np
from scipy.stats import norm

CAP = 1e6


def _baseline(xs, half_life):
    """Mean and spread of the rows before each row, by the plain definition."""
    w = 0.5 ** (1 / half_life)
    deviations = []
    for t, x in enumerate(xs):
        weights = [w ** (t - 1 - i) for i in range(t)]
        mean = sum(a * b for a, b in zip(weights, xs, strict=False)) / sum(weights) if t else x
        deviation = x - mean
        if abs(deviation) <= 1e-12 * abs(mean):
            deviation = 0.0
        weights = [w ** (t - 1 - i) for i in range(1, t)]
        squares = [d * d for d in deviations[1:]]
        spread = (
            math.sqrt(sum(a * b for a, b in zip(weights, squares, strict=True)) / sum(weights)) if weights else 0
        )
        deviations.append(deviation)
        yield deviation, spread


def _in_spreads(deviation, spread, cap):
    if spread <= 0:
        return math.nan if deviation == 0 else math.copysign(cap, deviation)
    return max(-cap, min(cap, deviation / spread))


def ewma(xs, alpha=0.2, half_life=500.0, warmup=30):
    z, scores = 0.0, []
    for t, (deviation, spread) in enumerate(_baseline(xs, half_life)):
        d = _in_spreads(deviation, spread, CAP)
        z = (1 - alpha) * z + alpha * (0.0 if math.isnan(d) or t < max(3, warmup) else d)
        flat = math.isnan(d) and z == 0.0
        scores.append(math.nan if t < max(3, warmup) or flat else min(CAP, abs(z) / math.sqrt(alpha / (2 - alpha))))
    return scores


def cusum(xs, slack=0.5, half_life=500.0, warmup=30, keep=1.0):
    up = down = 0.0
    scores = []
    for t, (deviation, spread) in enumerate(_baseline(xs, half_life)):
        d = _in_spreads(deviation, spread, 8.0)
        if t >= max(3, warmup):
            step = 0.0 if math.isnan(d) else d
            up, down = max(0.0, keep * up + step - slack), max(0.0, keep * down - step - slack)
            scores.append(math.nan if math.isnan(d) else max(up, down))
        else:
            scores.append(math.nan)
    return scores


def page_hinkley(xs, delta=0.1, forget_half_life=5000.0, half_life=2000.0, warmup=30):
    return cusum(xs, delta, half_life, warmup, keep=0.5 ** (1 / forget_half_life))


def spatial(xs, warmup=30):
    scores = []
    for t, x in enumerate(xs):
        if t < max(2, warmup):
            scores.append(math.nan)
            continue
        low, high = min(xs[:t]), max(xs[:t])
        outside = max(low - x, x - high, 0.0)
        if high == low:
            scores.append(CAP if outside > 0 else math.nan)
        else:
            scores.append(min(CAP, outside / (high - low)))
    return scores


def robust_z(xs, window=100, warmup=20):
    scores = []
    for t, x in enumerate(xs):
        past = np.array(xs[max(0, t - window) : t])
        if t < max(3, min(warmup, window)):
            scores.append(math.nan)
            continue
        middle = np.median(past)
        away = np.abs(past - middle)
        spread = 1.4826 * np.median(away)
        if spread == 0:
            spread = away.mean() * math.sqrt(math.pi / 2)
        floor = 1e-12 * abs(middle)
        if spread <= floor:
            scores.append(CAP if abs(x - middle) > floor else math.nan)
        else:
            scores.append(min(CAP, abs(x - middle) / spread))
    return scores


def missing(times, xs, factor=5.0, rows=16):
    """Scores of the silence before each row; times in seconds."""
    scores, values, finished, block = [], [], [], []
    for time, x in zip(times, xs, strict=True):
        known = sorted(gap for gap in finished[-5:] if gap > 0)
        usual = known[(len(known) - 1) // 2] if known else math.nan
        silence = max(0.0, time - max(values)) if values else math.nan
        scores.append(np.minimum(CAP, silence / (factor * usual)))
        if not math.isnan(x):
            block.append(silence if values else 0.0)
            values.append(time)
            if len(block) == rows:
                finished.append(max(block))
                block = []
    return scores


def autocorrelation(xs):
    known = [x for x in xs if not math.isnan(x)]
    square = sum(x * x for x in known) / len(known) if known else 0.0
    results = []
    for lag in range(len(xs)):
        pairs = [a * b for a, b in zip(xs[lag:], xs, strict=False) if not math.isnan(a * b)]
        enough = len(pairs) >= 0.25 * len(xs) and len(known) >= 0.25 * len(xs) and square > 0
        results.append(sum(pairs) / len(pairs) / square if enough else 0.0)
    return results


def tail(xs, smooth=10.0, half_life=2000.0, warmup=30):
    """-log10 of the share of a normal distribution above the smoothed score, with SciPy."""
    smoothed, scores = [], []
    for x in xs:
        smoothed.append(x if not smoothed else smoothed[-1] + (x - smoothed[-1]) / smooth)
    for t, (deviation, spread) in enumerate(_baseline(smoothed, half_life)):
        z = _in_spreads(deviation, spread, 1e3)
        scores.append(math.nan if t < max(3, warmup) else np.minimum(CAP, -norm.logsf(z) / math.log(10)))
    return scores
