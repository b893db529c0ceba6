"""Situations that users of such programs report, each with its brothers: what is right, and what has to be told."""
