"""Plug-ins as users write them, and what happens when they are given on a command line."""
