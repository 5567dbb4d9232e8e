"""Tests of plans of many points; a package, so that worker processes can import its tasks."""
