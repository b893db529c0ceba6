"""Histograms and how far they have moved."""
