"""What detectors that remember compare with: history, cells, periods, records, symbols."""
