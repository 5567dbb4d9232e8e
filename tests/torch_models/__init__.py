"""Models of transformers on tiles."""
