"""Patterns over the rows of a series: MATCH_RECOGNIZE with the semantics of Flink 2.3; see `pattern`."""
