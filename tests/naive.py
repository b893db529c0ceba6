"""The obvious slow version of every window: keeps all readings and looks at one at a time.

Readings are `(key, time, value)` in order of arrival, value None or NaN where missing; results are
`(at, key, start, end, readings)` with the readings of the window in order of arrival as `(arrival, time, value)`.
"""

from __future__ import annotations

import math
import statistics

import numpy as np

NEVER = -(2**62)


def missing(value):
    return value is None or not math.isfinite(value)


def aggregate(name, readings):
    values = [v for _, _, v in readings if not missing(v)]
    if name == "rows":
        return len(readings)
    if name == "count":
        return len(values)
    if name == "missing":
        return len(readings) - len(values)
    if name == "collect":
        return tuple(values)
    if name == "distinct":
        return len(set(values))
    if not values:
        return math.nan
    by_time = sorted((r for r in readings if not missing(r[2])), key=lambda r: r[1])  # stable
    if name in ("std", "var") and len(values) < 2:
        return math.nan
    if name == "rate":
        first, last = by_time[0], [r for r in by_time if r[1] == by_time[-1][1]][-1]
        return (last[2] - first[2]) / ((last[1] - first[1]) / 1e9) if last[1] > first[1] else math.nan
    return {
        "sum": lambda: sum(values),
        "mean": lambda: math.fsum(values) / len(values),
        "min": lambda: min(values),
        "max": lambda: max(values),
        "range": lambda: max(values) - min(values),
        "std": lambda: statistics.stdev(values),
        "std_pop": lambda: statistics.pstdev(values),
        "var": lambda: statistics.variance(values),
        "var_pop": lambda: statistics.pvariance(values),
        "first": lambda: values[0],
        "last": lambda: values[-1],
        "earliest": lambda: by_time[0][2],
        "latest": lambda: by_time[-1][2],
        "median": lambda: statistics.median(values),
        "distinct": lambda: len(set(values)),
        "p90": lambda: float(np.quantile(values, 0.9)),
    }[name]()


def hops(size, step, offset=0):
    """Windows that contain a time, as (start, end), ascending."""

    def windows(time):
        start = (time - offset) // step * step + offset
        found = []
        while start + size > time:
            if start >= 0:
                found.append((start, start + size))
            start -= step
        return found[::-1]

    return windows


def steps(size, step, offset=0):
    """Windows of CUMULATE that contain a time."""

    def windows(time):
        start = (time - offset) // size * size + offset
        ends = range(start + step, start + size + 1, step)
        return [(start, end) for end in ends if end > time and start >= 0]

    return windows


def aligned(readings, windows, emit="final", grace=0, closing="key", resolution=1_000_000, finish=False):
    """Windows told, and the windows refused to late readings as (at, key, start, end, late by)."""
    lag = grace - (resolution if closing == "watermark" else 0)
    horizon: dict = {}
    open_: dict = {}
    told, late = [], []

    def close(at, scope):
        due = [(start, end, key) for key, start, end in open_ if (scope is None or key == scope)
               and end <= horizon.get(key if closing == "key" else None, NEVER)]  # fmt: skip
        for start, end, key in sorted(due):
            if emit == "final":
                told.append((at, key, start, end, open_[key, start, end]))
            del open_[key, start, end]

    for at, (key, time, value) in enumerate(readings):
        scope = key if closing == "key" else None
        before = horizon.get(scope, NEVER)
        if key is not None:
            for start, end in windows(time):
                if end <= before:
                    late.append((at, key, start, end, before - time))
                    continue
                open_.setdefault((key, start, end), []).append((at, time, value))
                if emit == "current":
                    told.append((at, key, start, end, list(open_[key, start, end])))
        horizon[scope] = max(before, time - lag)
        close(at, scope)
    if finish:
        for scope in list(horizon):
            horizon[scope] = 2**62
        close(-1, None)
    return told, late


def counted(readings, count, step, emit):
    """Windows of so many readings, as (at, key, start, end, readings)."""
    open_: dict = {}
    number: dict = {}
    told = []
    for at, (key, time, value) in enumerate(readings):
        if key is None:
            continue
        windows = open_.setdefault(key, [])
        if number.get(key, 0) % step == 0:
            windows.append([])
        number[key] = number.get(key, 0) + 1
        for window in windows:
            window.append((at, time, value))
            if emit == "current" or len(window) == count:
                times = [t for _, t, _ in window]
                told.append((at, key, min(times), max(times), list(window)))
        open_[key] = [window for window in windows if len(window) < count]
    return told


def sliding(readings, size, grace, emit, finish=False):
    """Windows that end with each reading, both ends inclusive; and late ones as (at, key, start, end, late by)."""
    state: dict = {}
    told, late = [], []

    def inside(kept, time):
        return sorted((r for r in kept if max(0, time - size) <= r[1] <= time), key=lambda r: r[0])

    for at, (key, time, value) in enumerate(readings):
        if key is None:
            continue
        s = state.setdefault(key, {"latest": NEVER, "kept": [], "ends": set()})
        now = max(time, s["latest"])
        least = now - grace - size  # a window that starts before is closed
        if max(0, time - size) < least:
            late.append((at, key, max(0, time - size), time, now - grace - time))
        if time < least:
            continue
        s["latest"] = now
        s["kept"].append((at, time, value))
        if max(0, time - size) >= least:
            s["ends"].add(time)
        due = [t for t in sorted(s["ends"]) if max(0, t - size) < least]
        if emit == "current":
            due = [t for t in sorted(s["ends"]) if time <= t <= time + size and max(0, t - size) >= least]
        told += [(at, key, max(0, t - size), t, inside(s["kept"], t)) for t in due]
        s["ends"] = {t for t in s["ends"] if max(0, t - size) >= least}
    if finish and emit == "final":
        rest = sorted((t, key) for key, s in state.items() for t in s["ends"])
        told += [(-1, key, max(0, t - size), t, inside(state[key]["kept"], t)) for t, key in rest]
    return told, late


def sessions(readings, gap, grace=0, closing="key", resolution=1_000_000, finish=False):
    """Sessions as (at, key, start, end, readings), and late readings as (at, key, start, end, late by)."""
    lag = grace - (resolution if closing == "watermark" else 0)
    horizon: dict = {}
    open_: list = []  # [key, readings]
    told, late = [], []

    def span(session):
        times = [t for _, t, _ in session[1]]
        return min(times), max(times) + gap

    def close(at, scope):
        due = [s for s in open_ if (scope is None or s[0] == scope) and span(s)[1] <= horizon.get(scope, NEVER)]
        for session in sorted(due, key=lambda s: (span(s)[0], s[0])):
            told.append((at, session[0], *span(session), sorted(session[1])))
            open_.remove(session)

    for at, (key, time, value) in enumerate(readings):
        if key is None and closing == "key":
            continue
        scope = key if closing == "key" else None
        before = horizon.get(scope, NEVER)
        if key is not None:
            near = [s for s in open_ if s[0] == key and span(s)[0] - gap <= time <= span(s)[1]]
            if not near and time + gap <= before:
                late.append((at, key, time, time + gap, before - time))
            else:
                for s in near:
                    open_.remove(s)
                open_.append([key, [r for s in near for r in s[1]] + [(at, time, value)]])
        horizon[scope] = max(before, time - lag)
        close(at, scope)
    if finish:
        for scope in {s[0] for s in open_} if closing == "key" else {None}:
            horizon[scope] = 2**62
        rest = sorted(open_, key=lambda s: (span(s)[0], s[0]))
        told += [(-1, s[0], *span(s), sorted(s[1])) for s in rest]
    return told, late
