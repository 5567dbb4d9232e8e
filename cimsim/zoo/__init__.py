"""Bundled models and texts."""
