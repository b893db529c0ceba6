"""What whoever operates the agent sees of it: service manager, log, health, live view. It only looks on."""
