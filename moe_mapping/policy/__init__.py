"""Placement policies, one per file; each is a pure function of problem and seed."""
