"""Inputs and faults that a user never means: seeded, and all of them end in one sentence."""
