"""The words of IEEE 1159 and IEC 61000-4-30 for what may be wrong with a wave, with the unit of the size of each."""

from __future__ import annotations

NAMES = (
    "sag",
    "swell",
    "interruption",
    "transient",
    "notch",
    "harmonics",
    "frequency deviation",
    "phase jump",
    "dc offset",
    "noise",
    "stuck",
    "flicker",
    "interharmonics",
)
UNITS = ("of normal", "of normal", "of normal", "of the metric", "of normal", "of the fundamental", "Hz", "deg",
         "of the metric", "of the metric", "of the metric", "of normal", "of the fundamental")  # fmt: skip
"""Unit of `Disturbance.size` by name: a share of the normal voltage or of the fundamental, or the unit of the metric."""

SAG, SWELL, INTERRUPTION, TRANSIENT, NOTCH, HARMONICS, FREQUENCY, PHASE, OFFSET, NOISE, STUCK = range(11)
FLICKER, INTERHARMONICS = 11, 12
