"""The chip in time once more, in plain Python: the oracle of both schedulers."""
