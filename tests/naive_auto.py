"""The preset `auto` as it is described: one series, one row after the other, every sum from scratch."""

import itertools
import math

import numpy as np

from tests.naive_scores import context_sums

FACTORS = (1.0, 0.75, 0.5)
FAST, ALL = 3, 12


def capped(top, bottom):
    """A ratio, at most 20; 0 if there is nothing above, and where something is not known."""
    if math.isnan(top) or math.isnan(bottom) or top == 0:
        return 0.0
    return 20.0 if top >= 20 * bottom else top / bottom


def age(history, value, row):
    """Mean share of the last 4,096 rows without a value as large; `history` has (row, value), oldest first."""
    total = 0.0
    for factor in FACTORS:
        bar = np.float32(factor * value)
        last_block = -1  # rows are known by blocks of 32, but for those of the present one
        for when, old in history:
            if (old >= factor * value) if when // 32 == row // 32 else (np.float32(old) >= bar):
                last_block = when // 32
        begun = row // 32
        if last_block == begun or value <= 0:
            continue
        rows = min(row % 32 + 32 * (begun - 1 - last_block), row, 4096) if last_block >= 0 else min(row, 4096)
        total += (rows / min(row, 4096)) ** 1.5
    return total / 3


class Naive:
    """State: all rows so far."""

    def __init__(self, warmup=128, memory=4096, refractory=50, half_life=2000.0, alarm=1.05, burden=0.2):
        self.warmup, self.memory, self.refractory, self.alarm, self.burden = (
            warmup,
            memory,
            refractory,
            alarm,
            burden,
        )
        self.w = 0.5 ** (4 / half_life)
        self.xs, self.times, self.ys, self.cells, self.parts = [], [], [], [], []
        self.scale = self.centre = 0.0
        self.begin = None  # first cell measured in the scale
        self.usual = (math.nan,) * 3
        self.history = [[] for _ in range(ALL)]
        self.found = []  # (cell, view, age)
        self.alarms = []
        self.epoch = None

    def compressed(self, away):
        return float(np.arcsinh((away - self.centre) / self.scale)) if self.scale else away

    def row(self, time, x, context):
        n = len(self.xs)
        away = x - self.xs[0] if self.xs else 0.0
        low, high = (min(self.xs), max(self.xs)) if self.xs else (x, x)
        extent = high - low
        beyond = max(low - x, x - high, 0.0)
        y = self.compressed(away)
        views = [capped(beyond, extent), self.rarity(away, extent), capped(abs(y - self.usual[0]), self.usual[1])]
        for view, value in enumerate(views):
            self.judge(view, value, n)
        self.xs.append(x)
        self.times.append(time)
        self.ys.append(y)
        if n % 4 == 3:
            for view, value in enumerate(self.cell(n // 4)):
                self.judge(FAST + view, value, n)
        total = sum(
            max([a for cell, v, a in self.found if v == view and n // 4 - cell <= 4], default=0.0)
            for view in range(ALL)
        )
        score = 0.0 if n < self.warmup else (total + 0.5 * context) / self.alarm
        score /= 1 + sum(self.burden * math.exp(-(n - a) / 1000) for a in self.alarms)
        if self.alarms and n - self.alarms[-1] <= self.refractory:
            score = 0.0
        if score >= 1:
            self.alarms.append(n)
        if n % 64 == 63:
            self.look_back(n + 1)
        return math.nan if n < self.warmup or extent == beyond == 0 else score

    def judge(self, view, value, n):
        newest = [old for when, old in self.history[view] if when // 32 == n // 32 - 1]
        present = [old for when, old in self.history[view] if when // 32 == n // 32]
        news = n >= 32 and value > max([np.float32(old) for old in newest] + present)
        recent = [(when, old) for when, old in self.history[view] if when // 32 >= n // 32 - 128]
        self.found.append((n // 4, view, age(recent, value, n) if news else 0.0))
        self.history[view].append((n, value))
        self.found = [f for f in self.found if n // 4 - f[0] <= 4]

    def rarity(self, away, extent):
        if self.epoch is None or len(self.epoch["sample"]) < 4:
            return 0.0
        fourth = sorted(abs(away - s) for s in self.epoch["sample"])[3]
        return 0.0 if fourth <= 1e-5 * extent else capped(fourth, extent)

    def cell(self, c):
        level, spread, lively = self.usual
        y = self.ys[-4:]
        self.cells.append(float(np.float32(sum(y) / 4)))
        before = self.ys[-5] if len(self.ys) > 4 and self.begin != c else math.nan
        steps = [b - a for a, b in zip([before, *y], y, strict=False)]
        self.parts.append((
            sum((v - (0.0 if math.isnan(level) else level)) ** 2 for v in y) / 4,
            sum(0.0 if math.isnan(s) else s * s for s in steps) / 4,
        ))  # fmt: skip
        views = [0.0] * 9
        if self.scale:
            mean = sum(self.cells[-8:]) / 8 if c >= 7 else math.nan
            burst, restless = (
                math.sqrt(sum(p[1] for p in self.parts[-k:]) / k) if c - k + 1 >= self.begin else math.nan
                for k in (2, 8)
            )
            views = [
                *(self.nearest(c, w) for w in (2, 6, 16)), self.phase(c), capped(abs(mean - level), spread),
                capped(burst, lively), capped(restless, lively), capped(lively, burst), self.divergence(c),
            ]  # fmt: skip
        if self.begin is not None and c - 16 >= self.begin:
            weights = [self.w ** (c - 16 - i) for i in range(self.begin, c - 15)]
            total = sum(weights)
            means = [
                sum(w * v for w, v in zip(weights, column[self.begin : c - 15], strict=True)) / total
                for column in (self.cells, [p[0] for p in self.parts], [p[1] for p in self.parts])
            ]
            self.usual = (means[0], math.sqrt(means[1]), math.sqrt(means[2]))
        return views

    def nearest(self, c, w):
        best = math.inf
        for lag in self.epoch["lags"]:
            if lag >= max(w // 2, 1) and c - lag >= w - 1:
                past = self.cells[c - lag - w + 1 : c - lag + 1]
                best = min(best, sum((a - b) ** 2 for a, b in zip(self.cells[c - w + 1 :], past, strict=True)))
        return math.sqrt(best / w) if best < math.inf and best > 1e-11 * (1 + abs(self.cells[-1])) ** 2 else 0.0

    def phase(self, c):
        past = [self.cells[c - lag] for lag in self.epoch["lags"] if c - lag >= 0]
        return abs(self.cells[c] - float(np.median(past))) if past else 0.0

    def divergence(self, c):
        if c < 64:
            return 0.0
        bins = [sum(v > e for e in self.epoch["edges"]) for v in self.cells[-32:]]
        shares = [bins.count(b) / 32 for b in range(16)]
        return max(sum(p * (math.log(p) - u) for p, u in zip(shares, self.epoch["shares"], strict=True) if p), 0.0)

    def look_back(self, n):
        cells = n // 4
        if not self.scale and n >= self.warmup:
            values = [float(np.float32(x - self.xs[0])) for x in self.xs[n - self.warmup + 3 : n : 4]]
            middle = float(np.median(values))
            scale = float(np.median([abs(v - middle) for v in values])) or float(np.std(values))
            if scale > 0:
                self.centre, self.scale, self.begin = middle, scale, cells
                self.cells = [float(np.float32(np.arcsinh((v - middle) / scale))) for v in self.cells]
                self.usual = (math.nan,) * 3
        marks = sorted(self.times[3::4][-17:])
        marks = [0] * (17 - len(marks)) + marks
        gap = sorted(b - a for a, b in itertools.pairwise(marks))[8] // 4
        day = round(86_400e9 / gap) if gap > 0 else 0
        rows = day if day >= 8 and 2 * day <= self.memory else self.memory // 14
        lags = [int(np.rint(rows / 4 * k)) + o for k in range(1, 15) for o in (-1, 0, 1)]
        memory = sorted(self.cells[-(self.memory // 4) :])
        edges = [memory[b * len(memory) // 16] for b in range(1, 16)]
        counts = [0.5] * 16
        for v in memory:
            counts[sum(v > e for e in edges)] += 1
        self.epoch = {
            "lags": [lag for lag in lags if 1 <= lag <= self.memory // 4], "edges": edges,
            "shares": [math.log(c / sum(counts)) for c in counts],
            "sample": [float(np.float32(x - self.xs[0])) for x in self.xs[3::4][-512:]],
        }  # fmt: skip


def auto(times, xs, **options):
    naive = Naive(**options)
    contexts = context_sums(xs, 2048, 128)
    return [naive.row(time, x, context) for time, x, context in zip(times, xs, contexts, strict=True)]
