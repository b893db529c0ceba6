"""The recordings as they were made: what sensors, people and the clock said, at random but for a seed.

Only `make --inputs` runs this; the tests read the files.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from agent.alerts.commands import Command, command_batch
from agent.runtime.self_monitor import disk_batch
from sensors.batch import Batch, Text, tick
from sensors.drivers.simulated.waveform import FAULTS, Course, hold, synthesise
from sensors.units import SECOND

START = 1_700_000_000 * SECOND


def table(source, read_at, machine, time, values, texts=None):
    """A batch of these rows; a text that is None is missing."""
    machines = tuple(dict.fromkeys(machine))
    coded = {}
    for name, column in (texts or {}).items():
        words = tuple(dict.fromkeys(word for word in column if word is not None))
        coded[name] = Text(words, np.array([words.index(w) if w is not None else -1 for w in column], np.int32))
    codes = np.array([machines.index(name) for name in machine], np.int32)
    columns = {name: np.asarray(column, np.float64) for name, column in values.items()}
    return Batch(machines, codes, np.asarray(time, np.int64), columns, int(read_at), coded, source)


def machines():
    """A park of five machines on one line, and orders beside it: late, repeated, missing and wild readings."""
    rng = np.random.default_rng(1)
    readings = []  # read at, machine, time, temperature, vibration, status, product
    for number, name in enumerate(("m1", "m2", "m3", "m4", "m5")):
        for k in range(460):
            second = 0.5 * k + 0.1 * number
            if (name == "m3" and 90 < second < 150) or (name == "m5" and second > 25 and not second > 200):
                continue  # a long silence, and a machine that is forgotten and comes back
            heat = 70 + 14 * np.sin(2 * np.pi * (second + 9 * number) / 40) + rng.normal(0, 1)
            if name == "m2" and 60 < second < 120:
                heat += 4 + 16 * (k % 12 < 5)  # too hot, and it flaps
            if name == "m4" and 100 < second < 170:
                heat = 66.5  # stuck
            if rng.random() < 0.01:
                heat = rng.choice([np.nan, np.inf, -np.inf, 1e308])
            rough = abs(rng.normal(2.2, 0.4)) + (4 if name == "m1" and 130 < second < 150 else 0)
            status = rng.choice(
                ["RUN", "RUN", "RUN", "RUN", "IDLE", "FAIL"], p=[0.24, 0.24, 0.24, 0.18, 0.08, 0.02]
            )
            product = ("bolt", "nut", "screw")[int(second / 30 + number) % 3]
            late = rng.choice([0, 0.2, 3, 9], p=[0.8, 0.1, 0.07, 0.03])
            time = START + round(second * 1000) * 10**6
            row = (name, time, round(float(heat), 1), round(float(rough), 2), str(status), product)
            if rng.random() < 0.01:
                row = (*row[:4], None, None)
            if rng.random() < 0.003:
                row = (name, time + 7200 * SECOND, *row[2:])  # a wild time stamp is refused
            readings += [(second + late + 0.05, row)] * (1 + (rng.random() < 0.01))
    orders = []
    for k in range(300):
        second = 0.75 * k + float(rng.integers(0, 3))
        topping = str(rng.choice(["ham", "pineapple", "banana", "olive"], p=[0.3, 0.35, 0.25, 0.1]))
        orders.append((second + 0.1, ("shop", START + round(second * 1000) * 10**6, k // 6, topping)))
    readings.sort(key=lambda item: item[0])
    orders.sort(key=lambda item: item[0])
    told = [
        (80.0, Command("silence", "s1", "m2", "*", "*", 25.0, "being repaired")),
        (75.0, Command("ack", "a1", "m2", "o*", note="seen")),
        (96.0, Command("ack", "a2", "m9")),
        (97.0, Command("silence", "", "m1", seconds=5.0)),
        (118.0, Command("silence", "s2", "*", "stuck", "*", 600.0)),
        (150.0, Command("unsilence", "s2")),
        (150.0, Command("unsilence", "s9")),
        (151.0, Command("dance", "d1")),
    ]
    disk = [(0.0, ""), (40.0, "no space"), (43.0, "")]
    now, end = 0.0, 232.0
    while now < end:
        now += float(rng.choice([0.0, 0.4, 1.5, 3.0, 5.0], p=[0.1, 0.25, 0.35, 0.25, 0.05]))
        host = START + round(now * 1000) * 10**6
        first = [row for at, row in readings if at <= now]
        readings = readings[len(first) :]
        if first:
            name, time, heat, rough, status, product = zip(*first, strict=True)
            yield table(
                "line", host, name, time, {"Temperature_C": heat, "vibration": rough},
                {"status": status, "product": product},
            )  # fmt: skip
        second = [row for at, row in orders if at <= now]
        orders = orders[len(second) :]
        if second:
            name, time, number, topping = zip(*second, strict=True)
            yield table("orders", host, name, time, {"order": number}, {"topping": topping})
        if not first:
            yield tick(host)
        if ready := [command for at, command in told if at <= now]:
            told = told[len(ready) :]
            yield command_batch(ready, host)
        while disk and disk[0][0] <= now:
            yield disk_batch("golden", disk.pop(0)[1], host)
    for k in range(1, 40):  # the line is silent, and the host's clock is set back, then forward
        step = {10: -30 * SECOND, 25: 40 * SECOND}.get(k, 0)
        end = end - 30 * (k == 10) + 40 * (k == 25) + 1
        host = START + round(end * 1000) * 10**6
        if k == 11:
            yield table("line", host, ["m1"], [host - SECOND], {"Temperature_C": [99.0]}, {"status": ["RUN"]})
        yield dataclasses.replace(tick(host), clock_step=step)


def waves():
    """Two feeds of 50 Hz at 500 samples a second with one fault after the other, in blocks as a line brings them."""
    rng = np.random.default_rng(2)
    n, rate = 5000, 500.0
    columns = []
    for feed in range(2):
        course = Course.normal(n)
        for at, (name, length) in zip(range(2200 + 100 * feed, n, 420), _FAULTS[feed], strict=False):
            FAULTS[name].apply(course, at, at + length)
        columns.append(_volts(course, rate, rng))
    done, k = 0, 0
    while done < n:
        some = int(rng.integers(20, 400))
        stretch = slice(done, min(n, done + some))
        done = stretch.stop
        time = START + np.arange(stretch.start, stretch.stop) * round(SECOND / rate)
        for feed in (0, 1):
            keep = np.ones(len(time), np.bool_)
            if feed == 1 and k == 20:
                keep[5:9] = False  # some samples are lost
            volts = columns[feed][stretch].copy()
            if feed == 0 and k == 24:
                volts[3] = np.nan
            yield table("feeds", time[-1] + 10**6, [f"feed-{feed + 1}"] * int(keep.sum()), time[keep], {
                "voltage": volts[keep]
            })  # fmt: skip
        k += 1
    for second in range(8):
        yield tick(START + round((n / rate + second) * SECOND))


_FAULTS = (
    [("drop", 100), ("interruption", 100), ("swell", 100), ("spike", 1), ("harmonic", 150), ("noise_burst", 100)]
    * 2,
    [("frequency", 200), ("phase_jump", 300), ("dc_offset", 150), ("stuck", 40), ("drop", 60), ("spike", 2)] * 2,
)


def _volts(course, rate, rng):
    """What the sensor of a course reports, to a tenth of a volt."""
    noise = rng.normal(0, 1, len(course.gain)) * np.hypot(1.0, course.noise)
    return np.round(hold(synthesise(course, 0, rate) + noise, course.hold, 0.0), 1)


def metrics(n=760, step=10, seed=3, series=3):
    """Four metrics of some machines each ten seconds: a season, a spike, shifts, a burst, a silence, a stuck sensor."""
    rng = np.random.default_rng(seed)
    at = np.arange(n)
    feeds = []
    for number in range(series):
        flow = 30 + 5 * np.sin(2 * np.pi * (at + 7 * number) / 48) + rng.normal(0, 0.6, n)
        pressure = 0.1 * flow + rng.normal(0, 0.05, n)
        current = 7 + rng.normal(0, 0.2, n)
        vibration = np.abs(rng.normal(1, 0.2, n))
        place = 420 + 40 * number
        flow[place] += 40
        flow[place + 60 : place + 90] = 31.0
        pressure[place + 120 : place + 150] += 1.5
        current[place + 100 : place + 140] += 1.2
        vibration[place + 180 : place + 230] *= rng.normal(1, 3, 50)
        flow[place + 240 : place + 260] = flow[place + 240 : place + 260][::-1] - 9
        current[17 + number :: 101] = np.nan
        vibration[50 + number], vibration[60], vibration[70] = np.inf, -np.inf, 1e99
        if number == 1:
            pressure[300:330] = np.nan
        feeds.append({
            "flow": flow.round(2), "pressure": pressure.round(3), "current": current.round(2),
            "vibration": vibration.round(2),
        })  # fmt: skip
    done = 0
    while done < n:
        some = int(rng.choice([1, 2, 7, 40]))
        stretch = range(done, min(n, done + some))
        done = stretch.stop
        rows = [
            (f"p{number}", START + k * step * SECOND + number * 10**9, number, k)
            for k in stretch
            for number in range(series)
            if not (number == 2 and 600 < k < 640)  # nothing of it comes
        ]
        name, time, feed, row = zip(*rows, strict=True)
        values = {metric: [feeds[f][metric][k] for f, k in zip(feed, row, strict=True)] for metric in feeds[0]}
        shift = ["night" if k % 48 < 24 else "day" for k in row]
        host = START + stretch.stop * step * SECOND
        yield table("line", host, name, time, values, {"shift": shift})
        if rng.random() < 0.1:
            yield tick(host + SECOND)
    for k in range(1, 30):
        yield tick(START + (n + 3 * k) * step * SECOND)


def old(rows):
    """Readings of some series each second. e is silent for long, which is an incident; g is forgotten, f has its row."""
    rng = np.random.default_rng(4)
    n, names = 620, ("a", "b", "c", "d", "e", "g", "f")
    phase = 2 * np.pi * np.arange(n)[:, None] / 24
    x = 50 + 10 * np.sin(phase + np.arange(7)) + rng.normal(0, 1, (n, 7))
    x[330:400, 0] += 30  # hot when the checkpoint is written
    x[370:470, 1] += 25
    x[300:420, 2] = 51.0
    x[450:520, 3] *= 0.3
    x[500:505, 4] += 90
    y = 0.5 * x + rng.normal(0, 1, (n, 7))
    y[470:520, 1] -= 20
    x[11::97, 3] = np.nan
    told = {
        376: [Command("silence", "s1", "b", seconds=60.0, note="known"), Command("ack", "a1", "a", "hot")],
        500: [Command("ack", "a2", "*", "*_rule", note="all")],
    }
    waiting = []
    for k in rows:
        gone = {4: 60 < k < 480, 5: k > 50, 6: k < 220}
        who = [s for s in range(7) if not gone.get(s)]
        for s in who:
            second = k - 2 * (s == 0 and k % 9 == 0)  # some come late
            status = "FAIL" if (k + s) % 50 == 0 else "RUN"
            z = 2 * x[k, s] - y[k, s] if s != 5 else np.nan
            waiting.append((names[s], START + second * SECOND, x[k, s], y[k, s], z, status))
        read_at = START + k * SECOND + 10**8
        commands = told.get(k, [])
        if k % 5 == 4 or commands or k % 40 == 0:
            machine, time, *columns, status = zip(*waiting, strict=True)
            values = {name: np.round(column, 2) for name, column in zip("xyz", columns, strict=True)}
            yield table("line", read_at, machine, time, values, {"status": status})
            waiting = []
        if k % 20 == 0:
            yield tick(read_at + 10**8)
        if commands:
            yield command_batch(commands, read_at)
