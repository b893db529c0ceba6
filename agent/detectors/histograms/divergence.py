"""How far apart two histograms are: formulas, with p the reference and q the window, natural logarithms (nats).

Both are shares that add up to 1 and are nowhere 0 (smoothed), so all of these are finite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from sensors.batch import Floats

Direction = Literal["reference", "window"]
Divergence = Literal["kl", "js", "psi"]


def smoothed(counts: Floats, prior: float) -> Floats:
    """Shares `(b, m)` of counts `(b, m)` with `prior` readings added to every bin (1/2: Jeffreys' prior)."""
    shares: Floats = (counts + prior) / (total(counts) + prior * len(counts))
    return shares


def kullback_leibler(p: Floats, q: Floats) -> Floats:
    """`sum p ln(p / q)`, `(m,)` (Kullback and Leibler 1951, "On information and sufficiency")."""
    return np.maximum(total(p * np.log(p / q)), 0.0)


def jensen_shannon(p: Floats, q: Floats) -> Floats:
    """Half the KL of p from `m = (p + q) / 2` and half that of q, `(m,)`, at most ln 2.

    Lin (1991), "Divergence measures based on the Shannon entropy". Its root is a metric.
    """
    middle = 0.5 * (p + q)
    return np.maximum(0.5 * total(p * np.log(p / middle) + q * np.log(q / middle)), 0.0)


def stability_index(p: Floats, q: Floats) -> Floats:
    """`sum (q - p) ln(q / p)`, `(m,)`: the population stability index of credit scoring (Siddiqi 2006).

    It is Jeffreys' J divergence, the sum of both KLs. Customary limits: 0.1 a change, 0.25 a large one.
    """
    return total((q - p) * np.log(q / p))


def total(terms: Floats) -> Floats:
    """Sum over bins in their order; `np.sum` would group them by the number of windows."""
    added: Floats = np.cumsum(terms, axis=0)[-1] + 0.0  # not -0.0
    return added


def measure(kind: Divergence, direction: Direction) -> Callable[[Floats, Floats], Floats]:
    """The function of (p, q) that a configuration names; `direction` is for `kl`, the others have none."""
    if kind == "js":
        return jensen_shannon
    if kind == "psi":
        return stability_index
    if direction == "window":
        return lambda p, q: kullback_leibler(q, p)
    return kullback_leibler
