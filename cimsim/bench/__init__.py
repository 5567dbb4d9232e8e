"""Speed, measured the same way every time."""
