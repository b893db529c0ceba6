"""Detectors: how strange a window or a reading is. One idea a file; larger is stranger, NaN = no verdict."""
