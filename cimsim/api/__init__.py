"""What scripts and notebooks call: one verb a module, the same stages as the command line.

``import cimsim`` gives every name of this package and imports a module when its name is first
used. Results are `cimsim.api.call_result.CallResult`: a data frame, a table in notebooks, and
whatever lies behind them.
"""
