"""Calibration steps, one method a file; the two of the paper are our reading of ROMER."""
