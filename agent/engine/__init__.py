"""Deciding as a plain function: windows, detectors and rules put together, incidents, the wording of alerts."""
