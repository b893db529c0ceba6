"""Samples of a wave: what is measured, learnt and named."""
