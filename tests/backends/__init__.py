"""Tests of what runs a product beside the Numba tile."""
