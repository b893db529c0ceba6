"""Mains voltage as arrays: a sine, the faults that befall it, and the tutorial's labelled data set.

A wave is made in three steps, all pure: `Course.normal` says that nothing is wrong with any sample, `Fault.apply`
writes a fault into a stretch of the course, `synthesise` turns the course into volts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from sensors.batch import Floats, Ints

Bools = npt.NDArray[np.bool_]

Effect = Literal["gain", "offset", "frequency", "phase", "harmonic", "noise", "hold"]


@dataclass(slots=True)
class Course:
    """What happens to `n` samples of a sine, one array an effect, each `(n,)`.

    Attributes:
        gain: factor of the amplitude.
        offset: V added.
        frequency: Hz of deviation from the nominal frequency.
        phase: rad added.
        harmonic: share of the amplitude that the fifth harmonic has.
        noise: standard deviation of additional white noise, V.
        hold: the sensor repeats the value it had when the stretch began.
    """

    gain: Floats
    offset: Floats
    frequency: Floats
    phase: Floats
    harmonic: Floats
    noise: Floats
    hold: Bools

    @classmethod
    def normal(cls, n: int) -> Self:
        """`n` samples to which nothing happens."""
        offset, frequency, phase, harmonic, noise = np.zeros((5, n))
        return cls(np.ones(n), offset, frequency, phase, harmonic, noise, np.zeros(n, np.bool_))


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault: what it does to a stretch of samples.

    Attributes:
        effect: the array of the course that it changes.
        size: by how much: a factor (gain), V (offset, noise), Hz (frequency), rad (phase), share (harmonic).
        length: samples; 0 = to the end of what is generated (in a stream: `Voltage.anomaly_duration`).
    """

    effect: Effect
    size: float = 0.0
    length: int = 100

    def apply(self, course: Course, start: int, stop: int) -> None:
        """Write the fault into samples `start` to `stop` of the course."""
        stretch = slice(max(start, 0), stop)
        match self.effect:
            case "gain":
                course.gain[stretch] *= self.size
            case "hold":
                course.hold[stretch] = True
            case effect:
                getattr(course, effect)[stretch] += self.size


FAULTS: Mapping[str, Fault] = {
    "drop": Fault("gain", 0.2),
    "interruption": Fault("gain", 0.0),
    "swell": Fault("gain", 1.2),
    "frequency": Fault("frequency", -3.0, 0),
    "phase_jump": Fault("phase", np.pi / 6, 0),
    "dc_offset": Fault("offset", 50.0),
    "stuck": Fault("hold"),
    "spike": Fault("offset", 500.0, 1),
    "noise_burst": Fault("noise", 30.0),
    "harmonic": Fault("harmonic", 0.1, 0),
}
"""The kinds of fault that a simulated line can have, by name."""


def synthesise(
    course: Course,
    first: int,
    sampling_rate: float,
    frequency: float = 50.0,
    amplitude: float = 230.0,
    turned: float = 0.0,
) -> Floats:
    """The clean wave of a course, V: `(n,)`; noise and hold are the caller's.

    `amplitude * sqrt(2) * gain * sin(2 pi (f t + turned + deviation) + phase) + harmonic + offset`.

    Args:
        course: what happens to each sample.
        first: number of the first sample since the start.
        sampling_rate: Hz.
        frequency: nominal, Hz.
        amplitude: RMS, V.
        turned: turns by which the wave is ahead of nominal when the course begins.
    """
    n = len(course.gain)
    cycles = np.mod((first + np.arange(n)) * (frequency / sampling_rate), 1.0)
    angle = 2 * np.pi * (cycles + turned + deviation(course, sampling_rate)[:-1]) + course.phase
    wave = course.gain * np.sin(angle)
    if course.harmonic.any():
        wave += course.harmonic * np.sin(5 * angle)
    result: Floats = wave * (amplitude * np.sqrt(2)) + course.offset
    return result


def deviation(course: Course, sampling_rate: float) -> Floats:
    """Turns gained by the deviation of frequency before each sample and after the last, `(n + 1,)`."""
    return np.concatenate([[0.0], np.cumsum(course.frequency)]) / sampling_rate


def hold(wave: Floats, held: Bools, last: float) -> Floats:
    """The wave as a stuck sensor reports it: where `held`, the value just before the stretch began.

    Args:
        wave: `(n,)`.
        held: `(n,)`.
        last: the value reported before the first sample.
    """
    if not held.any():
        return wave
    source = np.maximum.accumulate(np.where(held, 0, np.arange(1, len(wave) + 1)))
    result: Floats = np.concatenate([[last], wave])[source]
    return result


def episodes(chance: Floats, probability: float, lengths: Ints, free: int) -> Iterator[tuple[int, int]]:
    """Where faults begin and end, by the tutorial's rule: by chance at each sample, never two at once.

    As in the tutorial a new one begins at the earliest two samples after the end of the last, at sample `free`.

    Args:
        chance: `(n,)` uniform random numbers, one a sample.
        probability: that a sample begins a fault.
        lengths: `(n,)` samples of the fault, should one begin here.
        free: first sample at which one may begin.
    """
    for start in np.flatnonzero(chance < probability).tolist():
        if start >= free:
            stop = start + int(lengths[start])
            yield start, stop
            free = stop + 1


@dataclass(frozen=True, slots=True)
class Dataset:
    """The tutorial's table, one row a sample: columns `time` (s), `normal_wave` and `anomaly_wave` (V), label."""

    time: Floats
    normal_wave: Floats
    anomaly_wave: Floats
    is_anomaly: Ints


def tutorial_dataset(
    duration: float = 100.0,
    sampling_rate: int = 1000,
    frequency: float = 50.0,
    amplitude: float = 230.0,
    anomaly_probability: float = 0.00009,
    anomaly_duration: int = 100,
    anomaly_drop: float = 0.2,
    seed: int | None = None,
) -> Dataset:
    """The data set of the voltage tutorial, number for number what its loop over `np.random.rand` makes.

    Args:
        duration: s.
        sampling_rate: Hz.
        frequency: Hz.
        amplitude: RMS, V.
        anomaly_probability: that a sample begins a drop.
        anomaly_duration: samples.
        anomaly_drop: factor of the voltage within a drop.
        seed: of NumPy's legacy generator, as `np.random.seed(seed)` before the tutorial's code; None = fresh.
    """
    time = np.arange(0, duration, 1 / sampling_rate)
    normal = amplitude * np.sqrt(2) * np.sin(2 * np.pi * frequency * time)
    wave, label = normal.copy(), np.zeros(len(time), np.int64)
    random = np.random.RandomState(seed)  # the tutorial's generator, to give its numbers
    chance = random.random_sample(len(time))
    for start, stop in episodes(chance, anomaly_probability, np.full(len(time), anomaly_duration), 0):
        wave[start:stop] *= anomaly_drop
        label[start:stop] = 1
    return Dataset(time, normal, wave, label)


@dataclass(frozen=True, slots=True)
class WindowKind:
    """A kind of 1 s window in the comparison of detectors.

    Attributes:
        normal: whether a detector should keep quiet.
        faults: what happens, each at a place of its own; of length 0: the whole window.
        from_middle: the faults begin in the middle of the window and last to its end.
        random_phase: the window begins anywhere in a period.
        drift: standard deviation of the mains frequency from window to window, Hz.
        gain: standard deviation of the amplitude from window to window, share.
    """

    normal: bool = False
    faults: tuple[Fault, ...] = ()
    from_middle: bool = False
    random_phase: bool = False
    drift: float = 0.0
    gain: float = 0.0


def _whole(effect: Effect, size: float = 0.0) -> WindowKind:
    return WindowKind(faults=(Fault(effect, size, 0),))


def _part(effect: Effect, size: float = 0.0, length: int = 100, times: int = 1) -> WindowKind:
    return WindowKind(faults=(Fault(effect, size, length),) * times)


WINDOW_KINDS: Mapping[str, WindowKind] = {
    "none": WindowKind(normal=True),
    "none_random_phase": WindowKind(normal=True, random_phase=True),
    "none_mains_drift_20mHz": WindowKind(normal=True, drift=0.02),
    "none_gain_5pct": WindowKind(normal=True, gain=0.05),
    "drop0.2_100": _part("gain", 0.2),
    "two_drops0.2_100": _part("gain", 0.2, times=2),
    "drop0.5_100": _part("gain", 0.5),
    "drop0.8_100": _part("gain", 0.8),
    "drop0.95_100": _part("gain", 0.95),
    "drop0.2_5": _part("gain", 0.2, 5),
    "drop0.2_20": _part("gain", 0.2, 20),
    "drop0.2_400": _part("gain", 0.2, 400),
    "drop0.2_full": _whole("gain", 0.2),
    "drop0.9_full": _whole("gain", 0.9),
    "interruption0_100": _part("gain", 0.0),
    "swell1.2_100": _part("gain", 1.2),
    "freq47_full": _whole("frequency", -3.0),
    "freq47_midwindow": replace(_whole("frequency", -3.0), from_middle=True),
    "freq49.5_full": _whole("frequency", -0.5),
    "dc+20_full": _whole("offset", 20.0),
    "dc+50_100": _part("offset", 50.0),
    "stuck_last_100": _part("hold"),
    "stuck_full": _whole("hold"),
    "spike+500_1": _part("offset", 500.0, 1),
    "spike+100_1": _part("offset", 100.0, 1),
    "noiseburst30_100": _part("noise", 30.0),
    "phasejump30deg": replace(_whole("phase", np.pi / 6), from_middle=True),
    "harmonic5_10pct": _whole("harmonic", 0.1),
}
"""The kinds of window of the baseline measured on the tutorial's detector, by its names."""


@dataclass(frozen=True, slots=True)
class LabelledWindows:
    """Windows of one kind: `waves` `(count, n)` in V, `is_anomaly` `(count, n)` labels of the samples."""

    waves: Floats
    is_anomaly: npt.NDArray[np.int8]
    places: list[list[tuple[int, int]]] = field(default_factory=list)


def windows(
    kind: str,
    count: int,
    rng: np.random.Generator,
    noise: float = 0.0,
    length: int = 1000,
    sampling_rate: float = 1000.0,
    frequency: float = 50.0,
    amplitude: float = 230.0,
) -> LabelledWindows:
    """`count` windows of a kind named in `WINDOW_KINDS`, their faults at random places, plus white noise (V)."""
    what = WINDOW_KINDS[kind]
    waves = np.empty((count, length))
    labels = np.zeros((count, length), np.int8)
    places: list[list[tuple[int, int]]] = []
    for row in range(count):  # a window a turn: this makes test data, nothing here runs on a gateway
        course = Course.normal(length)
        stretches = _places(what, length, rng)
        for fault, (start, stop) in zip(what.faults, stretches, strict=True):
            fault.apply(course, start, stop)
            labels[row, start:stop] = 1
        course.frequency += what.drift * rng.standard_normal() if what.drift else 0.0
        course.gain *= 1.0 + what.gain * rng.standard_normal() if what.gain else 1.0
        turned = rng.random() if what.random_phase else 0.0
        clean = synthesise(course, 0, sampling_rate, frequency, amplitude, turned)
        clean = hold(clean, course.hold, float(clean[0]))
        deviation_v = np.hypot(noise, course.noise)
        waves[row] = clean + deviation_v * rng.standard_normal(length) if deviation_v.any() else clean
        places.append(stretches)
    return LabelledWindows(waves, labels, places)


def _places(what: WindowKind, length: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """A stretch for each fault; those of one window do not overlap."""
    if what.from_middle:
        return [(length // 2, length) for _ in what.faults]
    if not what.faults or what.faults[0].length == 0:
        return [(0, length) for _ in what.faults]
    total = sum(fault.length for fault in what.faults)
    starts = np.sort(rng.integers(1, length - total + 1, size=len(what.faults)))  # sample 0 has nothing to hold
    stretches, shift = [], 0
    for start, fault in zip(starts.tolist(), what.faults, strict=True):
        stretches.append((start + shift, start + shift + fault.length))
        shift += fault.length
    return stretches
