"""Slow twins: plain code after the equations, which the product's fast code must equal."""
