"""Speed and detection figures: `python -m benchmarks NAME`, one JSON object a line."""
