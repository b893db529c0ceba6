"""Principal components of several sensors, and how an alarm of them lives."""
