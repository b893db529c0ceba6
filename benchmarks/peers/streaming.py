"""River's and PySAD's streaming detectors on one series; prints one JSON line a detector. Runs in `.venv-peers`.

    .venv-peers/bin/python benchmarks/peers/streaming.py SAMPLES SECONDS

They take one row a call; a thousand series are a thousand objects, so their rate is at best the same for any number.
Rates are samples a second of CPU time; a row of eight columns is eight samples.
"""

import json
import sys
import time
import warnings

import numpy as np

warnings.simplefilter("ignore")


WARM = 600
"""Values that each has seen before it is timed, as ours have."""


def rate(step, values, seconds):
    """Calls of `step(value)` a second; stops after `seconds`."""
    for value in values[:WARM]:
        step(value)
    begun, done = time.process_time(), 0
    for value in values[WARM:]:
        step(value)
        done += 1
        if done % 100 == 0 and time.process_time() - begun > seconds:
            break
    return done / (time.process_time() - begun)


def river():
    from river import anomaly, drift, stats

    def many(x):
        row = dict.fromkeys("abcdefgh", x)
        machine.score_one(row)
        machine.learn_one(row)

    machine = anomaly.HalfSpaceTrees(seed=1, limits=dict.fromkeys("abcdefgh", (-5, 5)))
    trees = anomaly.HalfSpaceTrees(seed=1)
    gauss = anomaly.GaussianScorer()
    svm = anomaly.QuantileFilter(anomaly.OneClassSVM(), q=0.99)
    filtered = anomaly.QuantileFilter(anomaly.GaussianScorer(), q=0.99)
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

    def quantile(x):
        score = filtered.score_one(None, x)
        filtered.classify(score)
        filtered.learn_one(None, x)

    def one_class(x):
        score = svm.score_one({"x": x})
        svm.classify(score)
        svm.learn_one({"x": x})

    yield "HalfSpaceTrees", half_space
    yield "HalfSpaceTrees 8 columns", many
    yield "QuantileFilter", quantile
    yield "OneClassSVM", one_class
    yield "GaussianScorer", gaussian
    yield "PageHinkley", page.update
    yield "ADWIN", adwin.update
    yield "KSWIN", kswin.update
    yield "RollingQuantile + MAD", robust


def pysad():
    from pysad.models import (
        KNNCAD,
        LODA,
        ExactStorm,
        MedianAbsoluteDeviation,
        RelativeEntropy,
        RobustRandomCutForest,
        StandardAbsoluteDeviation,
        xStream,
    )

    for name, make in {
        "PySAD xStream": lambda: xStream(num_components=20, n_chains=20, depth=10),
        "PySAD ExactStorm": lambda: ExactStorm(window_size=200),
        "PySAD KNNCAD": lambda: KNNCAD(probationary_period=100),
        "PySAD RelativeEntropy": lambda: RelativeEntropy(min_val=-5, max_val=5),
        "PySAD LODA": LODA,
        "PySAD MedianAbsoluteDeviation": lambda: MedianAbsoluteDeviation(window_size=100),
        "PySAD StandardAbsoluteDeviation": StandardAbsoluteDeviation,
        "PySAD RobustRandomCutForest": RobustRandomCutForest,
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
                    columns = 8 if name.endswith("8 columns") else 1
                    print(json.dumps({"detector": name, "rate": columns * rate(step, values, seconds)}), flush=True)
                except Exception as error:
                    print(json.dumps({"detector": name, "error": str(error)}), flush=True)
        except ImportError as error:
            print(json.dumps({"detector": family.__name__, "error": str(error)}), flush=True)


if __name__ == "__main__":
    main()
