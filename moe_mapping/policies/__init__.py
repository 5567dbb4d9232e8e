"""Placement policies, one a file; each is a pure function of problem and seed."""
