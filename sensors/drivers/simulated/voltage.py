"""The mains voltage of machines, sampled fast, with labelled faults. After the voltage tutorial."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from sensors.batch import Batch, Floats, Text
from sensors.drivers.simulated.base import Simulated
from sensors.drivers.simulated.waveform import FAULTS, Course, Fault, deviation, episodes, hold, synthesise
from sensors.units import SECOND

_BLOCK_SAMPLES = 65536


@dataclass(kw_only=True)
class Voltage(Simulated):
    """A sine of 50 Hz and 230 V RMS at 1 kHz, column `voltage`, with faults that begin by chance.

    Attributes:
        machines: how many lines; each has its own faults and noise.
        sampling_rate: Hz.
        frequency: Hz.
        amplitude: RMS, V.
        anomaly_probability: that a sample begins a fault.
        anomaly_duration: samples; a spike always has one.
        anomaly_drop: factor of the voltage within a `drop`.
        noise: standard deviation of white noise, V.
        random_phase: each line begins somewhere in a period instead of at 0 V.
        kinds: the faults that occur, with equal chance: drop, interruption, swell, frequency, phase_jump,
            dc_offset, stuck, spike, noise_burst, harmonic. The text column `kind` says which; empty = none.
    """

    machines: int = 1
    sampling_rate: float = 1000.0
    frequency: float = 50.0
    amplitude: float = 230.0
    anomaly_probability: float = 0.00009
    anomaly_duration: int = 100
    anomaly_drop: float = 0.2
    noise: float = 0.0
    random_phase: bool = False
    kinds: list[str] = field(default_factory=lambda: ["drop"])

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = [kind for kind in self.kinds if kind not in FAULTS]
        if unknown:
            raise ValueError(f"unknown kinds of fault {unknown}; known: {', '.join(FAULTS)}")
        if self.machines < 1 or not self.sampling_rate > 0 or self.anomaly_duration < 1 or self.noise < 0:
            raise ValueError("machines, sampling_rate and anomaly_duration must be above zero, noise not below")

    def outputs(self) -> tuple[str, ...]:
        return ("voltage", *(["is_anomaly", "kind"] if self.labels else []))

    def blocks(self, start: int) -> Iterator[Batch]:
        count = self.machines
        samples = max(1, min(round(self.sampling_rate), _BLOCK_SAMPLES // count))
        lines = [_Line(self, seed) for seed in np.random.SeedSequence(self.seed).spawn(count)]
        names = tuple(str(line) for line in range(count))
        machine = np.tile(np.arange(count, dtype=np.int32), samples)
        words = ("", *self.kinds)
        first = 0
        while True:
            waves, kinds = np.empty((samples, count)), np.zeros((samples, count), np.int32)
            for index, line in enumerate(lines):  # machines, not samples
                waves[:, index], kinds[:, index] = line.take(first, samples)
            instant = start + np.rint((first + np.arange(samples)) * (SECOND / self.sampling_rate)).astype(np.int64)
            values: dict[str, Floats] = {"voltage": waves.ravel()}
            texts: dict[str, Text] = {}
            if self.labels:
                values["is_anomaly"] = (kinds > 0).astype(np.float64).ravel()
                texts["kind"] = Text(words, kinds.ravel())
            time = np.repeat(instant, count)
            yield Batch(names, machine, time, values, read_at=int(time[-1]), texts=texts)
            first += samples


class _Line:
    """One line: what it carries from block to block."""

    def __init__(self, config: Voltage, seed: np.random.SeedSequence) -> None:
        self._config = config
        self._chance, self._white, start = (np.random.default_rng(part) for part in seed.spawn(3))
        self._turned = float(start.random()) if config.random_phase else 0.0
        self._last = 0.0  # what a stuck sensor repeats
        self._free = 0  # first sample of the next block at which a fault may begin
        self._open: tuple[int, int] | None = None  # fault that goes on in the next block: number of kind, end

    def take(self, first: int, n: int) -> tuple[Floats, np.ndarray[tuple[int, ...], np.dtype[np.int32]]]:
        """The next `n` samples, V, and the number of the kind of fault of each, 0 = none."""
        config = self._config
        course, kinds = Course.normal(n), np.zeros(n, np.int32)
        stretches = [(0, self._open[1], self._open[0])] if self._open else []
        # Two numbers a sample, whatever happens: the stream of random numbers does not depend on the faults.
        chance, which = self._chance.random((n, 2)).T
        if config.kinds:
            number = (which * len(config.kinds)).astype(np.int64)
            lengths = np.array([self._fault(kind).length for kind in config.kinds])[number]
            begun = episodes(chance, config.anomaly_probability, lengths, self._free)
            stretches += [(begin, end, int(number[begin]) + 1) for begin, end in begun]
        self._open = None
        for begin, end, kind in stretches:
            self._fault(config.kinds[kind - 1]).apply(course, begin, min(end, n))
            kinds[begin:end] = kind
            self._free = end + 1
            if end > n:
                self._open = kind, end - n
        self._free = max(self._free - n, 0)
        clean = synthesise(course, first, config.sampling_rate, config.frequency, config.amplitude, self._turned)
        clean = hold(clean, course.hold, self._last)
        self._last = float(clean[-1])
        self._turned = (self._turned + float(deviation(course, config.sampling_rate)[-1])) % 1.0
        deviation_v = np.hypot(config.noise, course.noise)
        noise = self._white.standard_normal(n)
        return clean + deviation_v * noise, kinds

    def _fault(self, kind: str) -> Fault:
        fault, config = FAULTS[kind], self._config
        length = 1 if kind == "spike" else config.anomaly_duration
        return Fault(fault.effect, config.anomaly_drop if kind == "drop" else fault.size, length)
