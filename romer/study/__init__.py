"""The study: does calibration help, where, by how much, and against what.

Counts as a command line: it joins calibrators with the functional tile, as `cimsim.stages`
does, and is the only part of romer that may know chips, seeds and held-out text.
"""
