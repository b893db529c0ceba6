"""Rules and windows as Flink SQL."""
