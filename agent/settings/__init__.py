"""From TOML, environment and command line to objects: the registry of parts, the checks, the pipeline."""
