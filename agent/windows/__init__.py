"""Windows: readings of a series -> aggregates over stretches of time or numbers of readings."""
