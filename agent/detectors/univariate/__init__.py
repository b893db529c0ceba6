"""One metric with its own history: detectors of level, spread, shape, season and silence."""
