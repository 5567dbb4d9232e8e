"""Tests of the network on chip."""
