"""Work on files: generate, calibrate, detect, evaluate, replay; all through the same `Engine.process`."""
