"""What detectors that score row by row share: rounds of rows, decaying sums, charts."""
