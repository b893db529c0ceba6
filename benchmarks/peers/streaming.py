"""River's and PySAD's streaming detectors on one series; prints one JSON line a detector. Runs in `.venv-peers`.

    .venv-peers/bin/python benchmarks/peers/streaming.py SAMPLES SECONDS

They take one value a call; a thousand series are a thousand objects, so their rate is the same for any number.
"""

import json
import sys
import time
import warnings

import numpy as np

warnings.simplefilter("ignore")


def rate(step, values, seconds):
    """Samples a second of `step(value)`; stops after `seconds`."""
    for value in values[:200]:
        step(value)
    begun, done = time.perf_counter(), 0
    for value in values[200:]:
        step(value)
        done += 1
        if done % 100 == 0 and time.perf_counter() - begun > seconds:
            break
    return done / (time.perf_counter() - begun)


def river():
    from river import anomaly, drift, stats

    trees = anomaly.HalfSpaceTrees(seed=1)
    gauss = anomaly.GaussianScorer()
    page, adwin = drift.PageHinkley(), drift.ADWIN()
    kswin = drift.KSWIN(seed=1)
    median, mad = stats.RollingQuantile(0.5, 100), stats.MAD()

    def half_space(x):
        trees.score_one({"x": x})
        trees.learn_one({"x": x})

    def gaussian(x):
        gauss.score_one(None, x)
        gauss.learn_one(None, x)

    def robust(x):
        median.update(x)
        mad.update(x)
        return abs(x - median.get()) / (mad.get() or 1.0)

    yield "HalfSpaceTrees", half_space
    yield "GaussianScorer", gaussian
    yield "PageHinkley", page.update
    yield "ADWIN", adwin.update
    yield "KSWIN", kswin.update
    yield "RollingQuantile + MAD", robust


def pysad():
    from pysad.models import KNNCAD, LODA, ExactStorm, RelativeEntropy, xStream

    for name, make in {
        "PySAD xStream": lambda: xStream(num_components=20, n_chains=20, depth=10),
        "PySAD ExactStorm": lambda: ExactStorm(window_size=200),
        "PySAD KNNCAD": lambda: KNNCAD(probationary_period=100),
        "PySAD RelativeEntropy": lambda: RelativeEntropy(min_val=-5, max_val=5),
        "PySAD LODA": LODA,
    }.items():
        try:
            model = make()
        except Exception as error:
            print(json.dumps({"detector": name, "error": str(error)}))
            continue
        yield name, lambda x, model=model: model.fit_score_partial(np.array([x]))


def main():
    samples, seconds = int(sys.argv[1]), float(sys.argv[2])
    values = np.random.default_rng(0).normal(0, 1, samples).tolist()
    for family in (river, pysad):
        try:
            for name, step in family():
                try:
                    print(json.dumps({"detector": name, "rate": rate(step, values, seconds)}), flush=True)
                except Exception as error:
                    print(json.dumps({"detector": name, "error": str(error)}), flush=True)
        except ImportError as error:
            print(json.dumps({"detector": family.__name__, "error": str(error)}), flush=True)


if __name__ == "__main__":
    main()
