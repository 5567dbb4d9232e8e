"""Calibration steps, one method per file; the two of the paper are our reading of ROMER."""
