"""Rules: conditions over readings, window results and scores, and the life cycle of what they raise."""
