"""Check batteries for people who test their own hardware models."""
