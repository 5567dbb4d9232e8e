"""Row-wise digital arithmetic in a fixed order (Numba); slow NumPy twins are in the tests.

Every kernel computes one row (one token) from that row alone and in the same order
whatever else is in the batch: results depend neither on how a batch is cut nor on the
number of threads that call. Multiply-accumulate is an exactly rounded fused
multiply-add, so vectorised and scalar code agree bit by bit.
"""
