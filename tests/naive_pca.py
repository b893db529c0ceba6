"""T2 and Q row by row, as one would write it down: a loop over time for one series, matrices of the textbook."""

import numpy as np


def features(window, middle, spread):
    u = (window - middle) / spread
    mean = u.mean(axis=0)
    return np.concatenate([mean, np.log(np.sqrt(np.maximum((u**2).mean(axis=0) - mean**2, 0)) + 0.05)])


def model(training, smooth, variance, quantile, follow):
    """Of training rows without gaps and without wild rows."""
    n, sensors = training.shape
    middle, spread = training.mean(axis=0), training.std(axis=0)
    f = np.array([features(training[i - smooth + 1 : i + 1], middle, spread) for i in range(smooth - 1, n)])
    size = max(2, n // 40)
    blocks = ((training - middle) / spread)[n % size :].reshape(-1, size, sensors).mean(axis=1)
    neumann = ((blocks[1:] - blocks[:-1]) ** 2).mean(axis=0) / 2 / blocks.var(axis=0)
    weight = np.append(np.minimum(1, neumann / 0.4), np.full(sensors, 0.2)) / f.std(axis=0)
    centre = f.mean(axis=0)
    z = (f - centre) * weight
    values, vectors = np.linalg.eigh(np.cov(z.T))
    values, vectors = values[::-1], vectors[:, ::-1]
    k = int(np.searchsorted(np.cumsum(values), variance * values.sum())) + 1
    plane = vectors[:, :k]
    t2 = plane @ np.diag(1 / np.maximum(values[:k], 0.1)) @ plane.T
    q = np.eye(2 * sensors) - plane @ plane.T
    mean, seen = np.zeros(2 * sensors), []
    for row in z:
        d = row - mean
        seen.append((d @ t2 @ d, d @ q @ d))
        mean = mean + follow * d
    limit = np.quantile(np.array(seen)[50:], quantile, axis=0)
    return middle, spread, centre, weight, mean, t2 / limit[0], q / limit[1]


def scores(
    x, train=400, smooth=12, variance=0.75, quantile=0.99, limit=2.8, clear=0.1, patience=5, follow=0.015, settle=45
):
    """`(n,)` scores of rows `(n, sensors)` without gaps; NaN in training."""
    middle, spread, centre, weight, mean, t2, q = model(x[:train], smooth, variance, quantile, follow)
    out = np.full(len(x), np.nan)
    home, homeward, calm = mean, 0, train
    alarm, patient, quiet, worst, fault, form = False, 0, 0, 0.0, None, None
    for t in range(train, len(x)):
        d = (features(x[t - smooth + 1 : t + 1], middle, spread) - centre) * weight - mean
        a, b = d @ t2 @ d, d @ q @ d
        times = min(max(a, b) / limit, 1e6)
        if quiet:
            quiet -= 1
            mean = mean + 0.1 * d
            out[t] = min(times, 0.99)
            continue
        if not alarm and times < 1:
            patient = 0
            calm += 1
            mean = mean + follow * d
            out[t] = min(times, 0.99)
            continue
        if not alarm and patient == 0:
            worst = 0.0
        if times > worst:
            worst, fault, form = times, d, t2 if a > b else q
        if not alarm:
            patient += 1
            if patient == patience:
                alarm, patient, homeward = True, 0, 0
                home, calm = (mean if calm >= 200 else home), 0
        else:
            away = (features(x[t - smooth + 1 : t + 1], middle, spread) - centre) * weight - home
            homeward = homeward + 1 if max(away @ t2 @ away, away @ q @ away) < 1 else 0
            back = times < 1 / limit
            patient = patient + 1 if back or fault @ form @ d < clear * (fault @ form @ fault) else 0
            if homeward == patience:
                alarm, patient, calm, mean = False, 0, 0, home
            elif patient == patience:
                alarm, patient, calm = False, 0, 0
                if not back:
                    mean, quiet = mean + d, settle
        out[t] = max(times, 1.0) if alarm else min(times, 0.99)
    return out
