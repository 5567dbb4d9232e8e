"""Voltage drop along the wires of a crossbar, to first order in the wire resistance.

Rows are driven at column 0 and columns are read at a virtual ground behind the last row;
every cell adds one segment of R to its row and one to its column. Undriven rows are held
at 0 V, so the network is linear and the drop is a change of each cell's effective
conductance. With the currents of an ideal network, G_ij v_i, the voltage over cell (i, j) is

    v_i - R sum_j' (min(j, j') + 1) G_ij' v_i - R sum_i' (rows - max(i, i')) G_i'j v_i'

and the current of column j is sum_i v_i G_eff_ij with

    G_eff_ij = G_ij [1 - R sum_j' (min(j, j') + 1) G_ij' - R sum_i' (rows - max(i, i')) G_i'j]

The error of the approximation is of second order in R G; an exact nodal solve
(`solve_wires` of `tests/twins`) bounds it in the tests. Rows whose transistors are off
when undriven lose less; that is not modelled.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cimsim.kernel_cache import cached

__all__ = ["drop_along_wires"]


@cached
@njit(error_model="numpy")
def drop_along_wires(conductance, resistance):  # type: ignore[no-untyped-def]
    """Replace conductances by effective ones.

    Args:
        conductance: float64 [rows, columns], over g_max; changed in place. Row 0 is farthest
            from the read-out, column 0 nearest to the drivers.
        resistance: wire resistance of a segment times g_max, dimensionless.
    """
    rows, columns = conductance.shape
    along_row = np.empty((rows, columns), np.float64)
    for i in range(rows):
        total = 0.0
        for j in range(columns):
            total += conductance[i, j]
        near = 0.0  # sum of (j' + 1) G for j' <= j
        behind = total  # sum of G for j' > j
        for j in range(columns):
            near += (j + 1) * conductance[i, j]
            behind -= conductance[i, j]
            along_row[i, j] = near + (j + 1) * behind
    far = np.zeros(columns, np.float64)  # sum of G for i' < i
    close = np.zeros(columns, np.float64)  # sum of (rows - i') G for i' >= i
    for i in range(rows):
        for j in range(columns):
            close[j] += (rows - i) * conductance[i, j]
    for i in range(rows):
        for j in range(columns):
            g = conductance[i, j]
            along_column = (rows - i) * far[j] + close[j]
            far[j] += g
            close[j] -= (rows - i) * g
            conductance[i, j] = g * (1.0 - resistance * (along_row[i, j] + along_column))
