"""The columns of a run's tables: each with its name, unit, meaning, value and reasons, once.

A column of results.csv is declared where it belongs: `quality` (what was run and how well the
model does), `speed`, `energy` (and area), `writing` (cells that are written). `details`, `scale`
and `peak` hold the other tables; `registry` puts them together and takes columns of plug-ins.
"""
