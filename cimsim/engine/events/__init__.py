"""What happens in time: one set of rules, and two schedulers that hand them events.

The rules are kernels over tables (`records`): each handles one event, changes the tables and
schedules what follows from it. `compiled` takes events from a heap inside one kernel; `simpy_loop`
gives each to a SimPy clock and calls back a model (`coupled`) or the flit-level network (`flit`)
in between. Both order events by time, then by order of scheduling.
"""
