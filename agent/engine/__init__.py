"""Deciding as a plain function: windows, detectors and rules put together, incidents, the words of alerts."""
