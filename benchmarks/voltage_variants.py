"""Windows that the 28 kinds do not hold: other faults, lengths, rates, noises and references, seeded.

Nothing here comes from `sensors.drivers.simulated.waveform`, so that the habits of that generator cannot be what a
detector is right about. A fault is written in ms and shares of the voltage and is set anywhere in its window, the
edges included.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.voltage_kinds import Waves
from sensors.batch import Floats

Random = np.random.Generator


@dataclass(slots=True)
class Wave:
    """One window in the making; arrays are `(n,)`.

    Attributes:
        rate: samples a second.
        gain: factor of the sine.
        hertz: frequency.
        turn: rad added.
        added: V added, in units of the peak voltage.
        harmonics: order (a whole number or not) -> share of the fundamental.
        noise: additional white noise, in units of the peak voltage.
        held: the sensor repeats the value it had before.
    """

    rate: float
    gain: Floats
    hertz: Floats
    turn: Floats
    added: Floats
    noise: Floats
    held: Floats
    harmonics: dict[float, Floats] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Samples."""
        return len(self.gain)

    def some(self, random: Random, ms: float) -> slice:
        """A stretch of so many ms, anywhere."""
        length = max(1, min(self.n, round(ms * self.rate / 1000)))
        start = int(random.integers(0, self.n - length + 1))
        return slice(start, start + length)


Fault = Callable[[Wave, Random], None]


def _gain(factor: float, ms: float, times: int = 1, where: str = "") -> Fault:
    def fault(wave: Wave, random: Random) -> None:
        for _ in range(times):
            place = wave.some(random, ms)
            length = place.stop - place.start
            place = {"first": slice(0, length), "last": slice(wave.n - length, wave.n)}.get(where, place)
            wave.gain[place] = np.minimum(wave.gain[place], factor) if factor < 1 else factor

    return fault


def _add(share: float, ms: float, times: int = 1, any_sign: bool = False) -> Fault:
    def fault(wave: Wave, random: Random) -> None:
        for _ in range(times):
            sign = random.choice([-1, 1]) if any_sign else 1
            wave.added[wave.some(random, ms)] += sign * share

    return fault


def _hertz(by: float, ms: float) -> Fault:
    def fault(wave: Wave, random: Random) -> None:
        wave.hertz[wave.some(random, ms)] += by * wave.hertz[0] / 50

    return fault


def _ramp(by: float) -> Fault:
    def fault(wave: Wave, random: Random) -> None:
        wave.hertz += by * wave.hertz[0] / 50 * np.linspace(0, 1, wave.n)

    return fault


def _turn(degrees: float, at: float) -> Fault:
    def fault(wave: Wave, random: Random) -> None:
        wave.turn[round(at * wave.n) :] += np.radians(degrees)

    return fault


def _order(order: float, share: float, ms: float) -> Fault:
    def fault(wave: Wave, random: Random) -> None:
        wave.harmonics[order] = np.zeros(wave.n)
        wave.harmonics[order][wave.some(random, ms)] = share

    return fault


def _noise(share: float, ms: float) -> Fault:
    def fault(wave: Wave, random: Random) -> None:
        wave.noise[wave.some(random, ms)] = share

    return fault


def _hold(ms: float) -> Fault:
    def fault(wave: Wave, random: Random) -> None:
        wave.held[wave.some(random, ms)] = 1

    return fault


def _flicker(hertz: float, depth: float) -> Fault:
    def fault(wave: Wave, random: Random) -> None:
        wave.gain *= 1 + depth * np.sin(2 * np.pi * (hertz * np.arange(wave.n) / wave.rate + random.random()))

    return fault


def _notches(depth: float, ms: float) -> Fault:
    def fault(wave: Wave, random: Random) -> None:
        place = (np.arange(wave.n) * 2 * wave.hertz[0] / wave.rate + random.random()) % 1
        wave.gain[place < 2 * wave.hertz[0] * ms / 1000] = 1 - depth

    return fault


def _ringing(share: float, order: float, ms: float) -> Fault:
    def fault(wave: Wave, random: Random) -> None:
        start = wave.some(random, 2 * ms).start
        t = np.arange(wave.n - start) / wave.rate
        wave.added[start:] += share * np.exp(-t * 1000 / ms) * np.sin(2 * np.pi * order * wave.hertz[0] * t)

    return fault


ALL = 1e9
FAULTS: Mapping[str, Fault] = {
    "sag_0.7_150ms": _gain(0.7, 150), "sag_0.6_50ms": _gain(0.6, 50), "sag_0.9_60ms": _gain(0.9, 60),
    "sag_0.5_first_30ms": _gain(0.5, 30, where="first"), "sag_0.5_last_30ms": _gain(0.5, 30, where="last"),
    "three_sags_0.4_40ms": _gain(0.4, 40, 3), "sag_0.5_10ms": _gain(0.5, 10), "sag_0.3_700ms": _gain(0.3, 700),
    "sag_0.85_full": _gain(0.85, ALL), "interruption_0.05_150ms": _gain(0.05, 150),
    "interruption_full": _gain(0.02, ALL), "swell_1.1_150ms": _gain(1.1, 150), "swell_1.2_full": _gain(1.2, ALL),
    "swell_1.3_30ms": _gain(1.3, 30), "dc-15_full": _add(-15 / 325, ALL), "dc+30_150ms": _add(30 / 325, 150),
    "freq52_100ms": _hertz(2, 100), "freq50.5_full": _hertz(0.5, ALL), "freq48_150ms": _hertz(-2, 150),
    "freq_ramp_1Hz": _ramp(1.0), "phasejump-20deg_at_20%": _turn(-20, 0.2), "phasejump15deg_at_80%": _turn(15, 0.8),
    "harmonic3_8pct": _order(3, 0.08, ALL), "harmonic7_5pct": _order(7, 0.05, ALL),
    "harmonic5_10pct_150ms": _order(5, 0.1, 150), "interharmonic3.6_6pct": _order(3.6, 0.06, ALL),
    "noiseburst20_120ms": _noise(20 / 325, 120), "noise20_full": _noise(20 / 325, ALL),
    "flicker_8.8Hz_5pct": _flicker(8.8, 0.05), "flicker_8.8Hz_3pct": _flicker(8.8, 0.03),
    "flicker_20Hz_4pct": _flicker(20.0, 0.04), "notches_0.7_1ms": _notches(0.7, 1.01),
    "spike-200": _add(-200 / 325, 0), "spikes5_120": _add(120 / 325, 0, 5, True),
    "transient_ringing_100": _ringing(0.5, 6.3, 5), "stuck_60ms": _hold(60), "stuck_full": _hold(ALL),
}  # fmt: skip
"""Faults by a label that says how deep and how long, sizes of volts for a peak of 325 V."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Circumstances in which every fault is shown.

    Attributes:
        rate: samples a second.
        n: samples in a window.
        hertz: nominal frequency.
        peak: V.
        noise: V of noise at a peak of 325 V; it scales with the peak.
        colour: `white`, `pink` or `synchronous` (stronger where the wave peaks).
        bits: of the converter, whose range is 1.6 times the peak; 0 = none.
        clip: share of the peak beyond which the converter clips; 0 = it does not.
        references: normal windows of each kind to learn from.
        kinds: normal kinds in the reference.
        spoilt: share of the reference that is disturbed.
        gain: standard deviation of the gain of tested windows whose kind has one; 5 % in the reference.
        drift: the same of their frequency, Hz at 50 Hz; 20 mHz in the reference.
    """

    rate: float = 1000.0
    n: int = 1000
    hertz: float = 50.0
    peak: float = 325.27
    noise: float = 1.0
    colour: str = "white"
    bits: int = 0
    clip: float = 0.0
    references: int = 100
    kinds: tuple[str, ...] = ("none", "none_phase", "none_drift", "none_gain")
    spoilt: float = 0.0
    gain: float = 0.05
    drift: float = 0.02


PLAIN = Scene()
SCENES: Mapping[str, Scene] = {
    "no noise": replace(PLAIN, noise=0.0),
    "1 V": PLAIN,
    "5 V": replace(PLAIN, noise=5.0),
    "500 samples": replace(PLAIN, n=500),
    "2000 samples": replace(PLAIN, n=2000),
    "2 kHz, 0.5 s": replace(PLAIN, rate=2000.0),
    "5 kHz, 0.2 s": replace(PLAIN, rate=5000.0),
    "10 kHz, 0.5 s": replace(PLAIN, rate=10_000.0, n=5000),
    "60 Hz, 110 V": replace(PLAIN, hertz=60.0, peak=155.6),
    "per unit": replace(PLAIN, peak=1.0),
    "millivolts": replace(PLAIN, peak=325e3),
    "pink 2 V": replace(PLAIN, colour="pink", noise=2.0),
    "synchronous 2 V": replace(PLAIN, colour="synchronous", noise=2.0),
    "8 bits": replace(PLAIN, bits=8, noise=0.5),
    "8 bits, no noise": replace(PLAIN, bits=8, noise=0.0),
    "12 bits": replace(PLAIN, bits=12, noise=0.2),
    "clipped at 95 %": replace(PLAIN, clip=0.95),
    "reference of one kind": replace(PLAIN, kinds=("none",)),
    "reference of one kind, no noise": replace(PLAIN, kinds=("none",), noise=0.0),
    "20 references": replace(PLAIN, references=5),
    "20 references, 5 V": replace(PLAIN, references=5, noise=5.0),
    "3 % of references disturbed": replace(PLAIN, spoilt=0.03),
    "tested gain 3 %, drift 40 mHz": replace(PLAIN, gain=0.03, drift=0.04),
}


def variants(trials: int, seed: int, only: str = "") -> Iterator[tuple[str, Waves]]:
    """Each scene with its name: `trials` windows of each fault and of each normal kind.

    Args:
        trials: windows of each kind.
        seed: of all of it.
        only: scenes whose name matches this pattern.
    """
    for number, (name, scene) in enumerate(SCENES.items()):
        if not re.search(only, name):
            continue
        random = np.random.default_rng([seed, number])
        learned = replace(scene, gain=0.05, drift=0.02)
        reference = np.stack(
            [_make(learned, kind, random) for kind in scene.kinds for _ in range(scene.references)]
        )
        for index in np.flatnonzero(random.random(len(reference)) < scene.spoilt).tolist():
            reference[index] = _make(learned, str(random.choice(list(FAULTS))), random)
        normal = 4 * list(PLAIN.kinds)  # so many that a rate of 1 % can be seen
        kinds = [kind for kind in [*normal, *FAULTS] for _ in range(trials)]
        waves = np.stack([_make(scene, kind, random) for kind in kinds])
        clean = _make(replace(scene, noise=0.0), "none", random)
        yield name, Waves(
            waves, np.array(kinds), ~np.isin(kinds, PLAIN.kinds), scene.noise * scene.peak / PLAIN.peak, scene.rate,
            reference, clean,
        )  # fmt: skip


def _make(scene: Scene, kind: str, random: Random) -> Floats:
    n = scene.n
    drift = scene.drift * random.standard_normal() if kind == "none_drift" else 0.0
    gain = 1 + scene.gain * random.standard_normal() if kind == "none_gain" else 1.0
    start = 0.0 if kind == "none" else 2 * np.pi * random.random()
    zeros = np.zeros((4, n))
    wave = Wave(scene.rate, np.ones(n), np.full(n, scene.hertz * (1 + drift / 50)), *zeros)
    if kind in FAULTS:
        FAULTS[kind](wave, random)
    angle = 2 * np.pi * np.cumsum(wave.hertz) / scene.rate + wave.turn + start
    sine = gain * wave.gain * np.sin(angle) + wave.added
    for order, share in wave.harmonics.items():
        sine += share * np.sin(order * angle + 1.0)
    held = wave.held > 0
    source = np.maximum.accumulate(np.where(held, -1, np.arange(n)))
    before = random.uniform(-1, 1)  # what the sensor showed before the window
    sine = np.where(source < 0, before, sine[np.maximum(source, 0)])
    sine += scene.noise / PLAIN.peak * _coloured(scene, angle, random) + wave.noise * random.standard_normal(n)
    if scene.clip:
        sine = np.clip(sine, -scene.clip, scene.clip)
    if scene.bits:
        step = 3.2 / 2**scene.bits
        sine = np.clip(np.round(sine / step), -(2 ** (scene.bits - 1)), 2 ** (scene.bits - 1) - 1) * step
    result: Floats = scene.peak * sine
    return result


def _coloured(scene: Scene, angle: Floats, random: Random) -> Floats:
    """Noise of RMS 1, `(n,)`."""
    white = random.standard_normal(len(angle))
    if scene.colour == "pink":
        spectrum = np.fft.rfft(white)
        spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
        spectrum[0] = 0
        pink = np.fft.irfft(spectrum, len(white))
        return np.asarray(pink / pink.std())
    if scene.colour == "synchronous":
        return white * (0.3 + 1.6 * np.sin(angle) ** 8) / 0.9
    return white
