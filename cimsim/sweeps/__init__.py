"""Many points: tasks, and what executes them.

A command of several chips, a study or a sweep is a list of tasks. An executor takes them, runs
them in processes of this machine or on a Dask cluster, and hands back what finishes. Results do
not depend on which one it is.
"""
