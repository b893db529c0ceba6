"""Detectors made of detectors: combined, calibrated, the anomaly rate of many metrics."""
