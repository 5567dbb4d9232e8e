"""The product's transport, callable from Python: both schedulers and the twins move vectors alike.

`tests.engine.test_transport` and `test_chips` hold it against slow twins of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cimsim.engine.network import Network
from cimsim.engine.noc.kernel import kernel
from cimsim.engine.transport import reduce_train as _reduce_train
from cimsim.engine.transport import scatter_trains as _scatter_trains
from cimsim.engine.transport import send_train as _send_train

__all__ = ["reduce_train", "scatter_trains", "send_train"]

Int64 = NDArray[np.int64]
UInt64 = NDArray[np.uint64]


@kernel
def send_train(
    net: Network, first_ps: int, last_ps: int, source: int, target: int, flits: int, vectors: int
) -> int:
    return _send_train(net, first_ps, last_ps, source, target, flits, vectors)


@kernel
def scatter_trains(
    net: Network,
    now_ps: int,
    source: int,
    targets: Int64,
    masks: UInt64,
    count: int,
    flits: int,
    firsts_ps: Int64,
    arrivals_ps: Int64,
) -> None:
    _scatter_trains(net, now_ps, source, targets, masks, count, flits, firsts_ps, arrivals_ps)


@kernel
def reduce_train(
    net: Network,
    first_ps: Int64,
    last_ps: Int64,
    sources: Int64,
    masks: UInt64,
    count: int,
    target: int,
    flits: int,
) -> int:
    return _reduce_train(net, first_ps, last_ps, sources, masks, count, target, flits)
