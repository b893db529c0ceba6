"""The obvious slow version of the detectors that look at the memory, at single rows, or at scores.

One series, a list of floats in, a list of scores out; NaN where nothing can be said. Weighted sums are worked out
from the start at every row.
"""

import itertools
import math

import numpy as np

from agent.detectors.univariate.history.period import find_periods

CAP = 1e6


def _kept(values):
    """As a store of 24-bit numbers keeps them: less the first one."""
    return np.array([v - values[0] for v in values]).astype(np.float32).astype(float).tolist()


def _usual(sizes, half_life):
    """Weighted mean of the sizes before; NaN ones do not count."""
    w = 0.5 ** (1 / half_life)
    known = [(w ** (len(sizes) - 1 - i), size) for i, size in enumerate(sizes) if not math.isnan(size)]
    return sum(a * size for a, size in known) / sum(a for a, _ in known) if known else math.nan


def _over(size, usual):
    if math.isnan(size) or math.isnan(usual) or size == usual == 0:
        return math.nan
    return CAP if usual == 0 else min(CAP, size / usual)


def _relative(sizes, half_life, warmup):
    return [math.nan if t < warmup else _over(sizes[t], _usual(sizes[:t], half_life)) for t in range(len(sizes))]


def spike(xs, half_life=500.0, warmup=30):
    sizes = []
    for t, x in enumerate(xs):
        far = abs(x - sorted(xs[t - 5 : t])[2]) if t >= 5 else math.nan
        sizes.append(0.0 if far <= 1e-12 * abs(x) else far)
    return _relative(sizes, half_life, max(6, warmup))


def noise_burst(xs, window=16, half_life=500.0, warmup=64):
    steps = [0.0] + [b - a for a, b in itertools.pairwise(xs)]
    w, scores = 0.5 ** (1 / half_life), []
    for t in range(len(xs)):
        now = math.sqrt(sum(s * s for s in steps[max(0, t - window + 1) : t + 1]) / window)
        weights = [w**i for i in range(t + 1)]
        before = [steps[t - window - i] if t - window - i >= 0 else 0.0 for i in range(t + 1)]
        long = math.sqrt(sum(a * s * s for a, s in zip(weights, before, strict=True)) / sum(weights))
        scores.append(math.nan if t < max(2 * window, warmup) else _over(now, long))
    return scores


def stuck(xs, rows=60, tolerance=0.0):
    moved, scores = None, []
    for t, x in enumerate(xs):
        if t and abs(x - xs[t - 1]) > tolerance:
            moved = t
        scores.append(math.nan if moved is None or t < 2 else (t - moved) / rows)
    return scores


def neighbour(xs, window=32, memory=512, half_life=500.0, warmup=128):
    y, sizes = _kept(xs), []
    for t in range(len(y)):
        best = math.inf
        for lag in range(window // 2, memory + 1):
            if t - lag - window + 1 >= 0:
                pairs = zip(y[t - window + 1 : t + 1], y[t - lag - window + 1 : t - lag + 1], strict=True)
                best = min(best, math.sqrt(sum((a - b) ** 2 for a, b in pairs) / window))
        sizes.append(best if best < math.inf else math.nan)
    return _relative(sizes, half_life, max(2 * window, warmup))


def seasonal(xs, period="auto", day=24, periods=7, memory=2048, half_life=500.0, warmup=64):
    """`day`: rows in a day by the clock, or in the period that is given."""
    y, sizes, rows, found = _kept(xs), [], memory // periods, 0
    for t in range(len(y)):
        if t and t % 64 == 0:
            power = t & (t - 1) == 0
            if period == "auto" and (power or t % max(64, memory // 4) < 64):
                past = [math.nan] * max(0, memory - t) + y[max(0, t - memory) : t]
                found = int(find_periods(np.array([past]))[0])
            by_clock = day if day >= 8 and 2 * day <= memory else memory // periods
            rows = found or by_clock
        near = max(rows // 48, 1)
        lags = [d * rows + o for d in range(1, periods + 1) for o in (-1, 0, 1) if abs(o) <= near]
        past = [y[t - lag] for lag in lags if 1 <= lag <= memory and t - lag >= 0]
        sizes.append(abs(y[t] - float(np.median(past))) if past else math.nan)
    return _relative(sizes, half_life, max(2, warmup))


def ratio(xs, half_life=2000.0, warmup=30):
    w, scores = 0.5 ** (1 / half_life), []
    for t, x in enumerate(xs):
        largest = max(w ** (t - i) * value for i, value in enumerate(xs[: t + 1]))
        scores.append(math.nan if t < max(2, warmup) or largest == 0 else x / largest)
    return scores


def conformal(xs, window=1000, warmup=30):
    scores = []
    for t, x in enumerate(xs):
        past = xs[max(0, t - window) : t]
        if t < max(2, warmup) or (x == 0 and not any(past)):
            scores.append(math.nan)
        else:
            scores.append(-math.log10((sum(value >= x for value in past) + 1) / (len(past) + 1)))
    return scores


def rest(scores, limit, rows):
    """One alarm, then so many rows of silence."""
    told, alarm = [], None
    for t, score in enumerate(scores):
        silent = alarm is not None and t - alarm <= rows
        told.append(math.nan if math.isnan(score) else 0.0 if silent else score)
        if not silent and score >= limit:
            alarm = t
    return told


def anomaly_rate(columns, limit, hold):
    """From the scores of each metric: the share that was strange within the last `hold` rows."""
    rates = []
    for t in range(len(columns[0])):
        if all(math.isnan(scores[t]) for scores in columns):
            rates.append(math.nan)
            continue
        rates.append(sum(any(s >= limit for s in c[max(0, t - hold + 1) : t + 1]) for c in columns) / len(columns))
    return rates


def _alphabets(past):
    """Four functions of a value to its symbol."""
    middle = float(np.median(past))
    away = [abs(x - middle) for x in past]
    scale = float(np.median(away)) or math.sqrt(sum(d * d for d in away) / len(away))
    low, extent = min(past), max(past) - min(past)

    def bent(step):
        def symbol(x):
            z = math.asinh((x - middle) / scale) if scale else 1e6 * np.sign(x - middle)
            return max(0, min(31, math.floor(z / step) + 16))

        return symbol

    def part(parts):
        return lambda x: max(0, min(31, math.floor((x - low) / (extent or 1e-6) * parts + 0.5) + (32 - parts) // 2))

    return [bent(0.25), bent(0.4), part(12), part(24)]


def context_sums(xs, memory, warmup):
    """Sum over four alphabets of the newest context of the last 16 rows."""
    xs = [float(np.float32(x - xs[0])) for x in xs]
    ages = [[0.0] * 4 for _ in xs]
    history = [[] for _ in range(4)]  # how many pairs were new, for each alphabet
    for t, x in enumerate(xs):
        doubled = any(t == warmup * 2**k for k in range(20)) and t <= memory
        if t and (doubled or t % memory == 0):
            past = xs[max(0, t - memory) : t]
            names = _alphabets(past)
            seen = {
                (a, lag, names[a](past[i - lag]), names[a](past[i]))
                for a in range(4)
                for lag in range(1, 5)
                for i in range(lag, len(past))
            }
        if t < warmup:
            for level in history:
                level.append(0)
            continue
        for a in range(4):
            pairs = [(a, lag, names[a](xs[t - lag]), names[a](x)) for lag in range(1, 5)]
            new = sum(pair not in seen for pair in pairs)
            seen.update(pairs)
            more = max((i for i in range(t) if history[a][i] > new), default=-1)
            many = max((i for i in range(t) if history[a][i] >= new), default=-1)
            history[a].append(new)
            ages[t][a] = sum(((t - 1 - i) / t) ** 1.5 for i in (more, many)) / 2 if new else 0.0
    return [sum(max(row[a] for row in ages[max(0, t - 15) : t + 1]) for a in range(4)) for t in range(len(xs))]


def contexts(xs, memory, warmup, refractory):
    scores, last = [], -math.inf
    for t, total in enumerate(context_sums(xs, memory, warmup)):
        score = total / 4 / 0.3
        if t - last <= refractory:
            score = 0.0
        elif score >= 1:
            last = t
        scores.append(score if t >= warmup and any(x != xs[0] for x in xs[: t + 1]) else math.nan)
    return scores
