"""Deciding as a plain function: windows, detectors and rules put together, the book of incidents, the words of alerts."""
