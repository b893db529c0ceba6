"""What outlasts the process: files that are whole, or moved aside."""
