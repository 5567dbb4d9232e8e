"""Tests of the functional tile."""
