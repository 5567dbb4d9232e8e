"""Addressed random numbers: Philox4x32-10 and an inverse-CDF normal table."""
