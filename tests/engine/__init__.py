"""Tests of the event engine."""
